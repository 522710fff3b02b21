/**
 * How this person likes terminals: kept by the browser, the same in all tabs of it.
 */
import { createStore, remember } from "../state.js";

export const SIZES = [10, 11, 12, 13, 14, 15, 16, 18, 20, 24, 28];

/**
 * @typedef {object} Preferences
 * @property {string} theme One of `themes.js`; `page`, as the page around it.
 * @property {number} fontSize One of SIZES.
 * @property {number} scrollback Lines.
 * @property {boolean} bar A bar with keys that a phone's keyboard lacks; by default, where there is no mouse.
 * @property {boolean} reader Tell screen readers what appears.
 * @property {boolean} careful Ask before several lines are pasted into what would run them at once.
 */

/** @type {Preferences} */
const USUAL = {
  theme: "page",
  fontSize: 14,
  scrollback: 10_000,
  bar: matchMedia("(pointer: coarse)").matches,
  reader: false,
  careful: true,
};

/** @returns {Preferences} */
function stored() {
  try {
    const said = JSON.parse(remember("terminal") ?? "{}");
    const found = { ...USUAL };
    for (const key of /** @type {(keyof Preferences)[]} */ (Object.keys(USUAL))) {
      if (typeof said[key] === typeof USUAL[key]) Object.assign(found, { [key]: said[key] });
    }
    if (!SIZES.includes(found.fontSize)) found.fontSize = USUAL.fontSize;
    return found;
  } catch {
    return { ...USUAL };
  }
}

export const preferences = createStore(stored());
preferences.subscribe((chosen) => remember("terminal", JSON.stringify(chosen)));

/** @param {number} steps */
export function zoom(steps) {
  const { fontSize } = preferences.get();
  const wanted = SIZES[SIZES.indexOf(fontSize) + steps];
  if (wanted) preferences.update({ fontSize: wanted });
}
