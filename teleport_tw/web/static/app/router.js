/**
 * Addresses to pages, by the history API. Pages are listed in `pages/registry.js`.
 *
 * A pattern is a path with `:name` for one segment. Anything that starts with `/web` and is clicked without a
 * modifier key is opened here and not by the browser.
 */
import { createStore, useStore } from "./state.js";
import { html } from "./html.js";

/**
 * @typedef {{ path: string, query: URLSearchParams }} Place
 */

/** @returns {Place} */
function here() {
  return { path: location.pathname.replace(/\/+$/, "") || "/web", query: new URLSearchParams(location.search) };
}

/** @type {import("./state.js").Store<Place>} */
export const place = createStore(here());
addEventListener("popstate", () => place.set(here()));

let moved = false;

/** @returns {boolean} whether the page shown was reached from another one here, and not by the browser */
export function hasMoved() {
  return moved;
}

/** @type {Set<() => string | undefined>} */
const guards = new Set();

/**
 * Asks before the page is left while something would be lost. The guard returns the question, or nothing.
 * @param {() => string | undefined} guard
 * @returns {() => void} takes the guard away
 */
export function guardLeaving(guard) {
  guards.add(guard);
  return () => guards.delete(guard);
}
addEventListener("beforeunload", (event) => {
  for (const guard of guards) if (guard()) event.preventDefault();
});

/**
 * Goes to a page of ours.
 * @param {string} to path with query
 * @param {{ replace?: boolean, keepScroll?: boolean }} [options]
 */
export function navigate(to, { replace = false, keepScroll = false } = {}) {
  const target = new URL(to, location.href);
  if (target.pathname !== location.pathname) {
    for (const guard of guards) {
      const question = guard();
      if (question && !confirm(question)) return;
    }
  }
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  if (target.pathname !== place.get().path) moved = true;
  place.set(here());
  if (!keepScroll) {
    scrollTo(0, 0);
    document.getElementById("main")?.scrollTo(0, 0);
  }
}

/**
 * Changes keys of the query and leaves the others; empty values go.
 * @param {Record<string, string | null | undefined>} changes
 * @param {{ replace?: boolean }} [options] `replace` by default, so that typing does not fill the history
 */
export function setQuery(changes, { replace = true } = {}) {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  const text = query.toString();
  navigate(location.pathname + (text ? `?${text}` : ""), { replace, keepScroll: true });
}

/** @returns {Place} the current place; drawn again when it changes */
export function usePlace() {
  return useStore(place);
}

/**
 * @param {string} pattern
 * @param {string} path
 * @returns {Record<string, string> | null} what stands in the places of the pattern; null when it does not fit
 */
export function match(pattern, path) {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  /** @type {Record<string, string>} */
  const found = {};
  for (let index = 0; index < wanted.length; index++) {
    const word = wanted[index] ?? "";
    const value = given[index] ?? "";
    if (word.startsWith(":")) {
      if (!value) return null;
      try {
        found[word.slice(1)] = decodeURIComponent(value);
      } catch {
        return null;
      }
    } else if (word !== value) return null;
  }
  return found;
}

/**
 * Fills a pattern.
 * @param {string} pattern
 * @param {Record<string, string>} values
 * @returns {string}
 */
export function fill(pattern, values) {
  return pattern.replace(/:(\w+)/g, (_all, name) => encodeURIComponent(values[name] ?? ""));
}

/**
 * A way back that stays on this site and among our pages: anything else becomes the start page.
 * @param {string | null} wanted
 * @returns {string}
 */
export function safeReturn(wanted) {
  if (!wanted) return "/web";
  try {
    const target = new URL(wanted, location.origin);
    const ours = target.origin === location.origin && /^\/web(\/|$)/.test(target.pathname);
    if (!ours || target.pathname.startsWith("/web/login")) return "/web";
    return target.pathname + target.search + target.hash;
  } catch {
    return "/web";
  }
}

/**
 * A link to one of our pages.
 * @param {{ href: string, class?: string, children?: import("./html.js").Children, [key: string]: any }} props
 */
export function Link({ href, children, ...rest }) {
  return html`<a href=${href} ...${rest}>${children}</a>`;
}

// One listener for all links, those inside text included.
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!/^\/web(\/|$)/.test(link.pathname) || link.pathname.startsWith("/web/app/")) return;
  if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
  event.preventDefault();
  navigate(link.pathname + link.search + link.hash);
});
