/**
 * Style sheets of one area, fetched with the first page that needs them.
 */

/** @type {Map<string, Promise<void>>} */
const fetched = new Map();

/**
 * @param {string} name Of a file in `styles/`, without its ending.
 * @returns {Promise<void>} Done when it is in force, or cannot be had: a page without it is still a page.
 */
export function stylesheet(name) {
  return linked(new URL(`./styles/${name}.css`, import.meta.url).href);
}

/** @param {string} address @returns {Promise<void>} The same for a file that is elsewhere. */
export function linked(address) {
  const known = fetched.get(address);
  if (known) return known;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  const done = /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      link.onload = link.onerror = () => resolve();
    })
  );
  fetched.set(address, done);
  document.head.append(link);
  return done;
}
