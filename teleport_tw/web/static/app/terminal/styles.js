/**
 * Lets xterm.js draw under the page's content policy.
 *
 * xterm makes `<style>` elements and gives the spans of its lines a `style` attribute as text; the policy forbids both.
 * From the first terminal on, new `<style>` elements carry the answer's nonce, and a span's style is set by script, which
 * is allowed. xterm takes a `documentOverride` for such purposes but, as of 6.0, uses the page's own document in places.
 */

const nonce = document.querySelector('meta[name="csp-nonce"]')?.getAttribute("content") ?? "";
const createElement = document.createElement.bind(document);

/** @param {string} name @param {any} [options] @returns {any} */
function createAllowed(name, options) {
  const element = createElement(name, options);
  if (name === "style") element.setAttribute("nonce", nonce);
  if (name === "span") element.setAttribute = setAllowed;
  return element;
}

/** @this {HTMLElement} @param {string} name @param {string} value */
function setAllowed(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

document.createElement = createAllowed;
