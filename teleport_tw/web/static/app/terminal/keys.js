/**
 * Keys that a phone's keyboard lacks.
 */
import { html, useState } from "../html.js";

const KEYS = [
  ["Esc", "\x1b"],
  ["Tab", "\t"],
  ["Ctrl", ""],
  ["←", "\x1b[D"],
  ["↑", "\x1b[A"],
  ["↓", "\x1b[B"],
  ["→", "\x1b[C"],
  ["/", "/"],
  ["|", "|"],
  ["-", "-"],
  ["~", "~"],
  ["Home", "\x1b[H"],
  ["End", "\x1b[F"],
  ["PgUp", "\x1b[5~"],
  ["PgDn", "\x1b[6~"],
];

/** @param {{ screen: import("./screen.js").Screen }} props */
export function KeyBar({ screen }) {
  const [, again] = useState(0);
  const press = (/** @type {string} */ sequence) => {
    if (sequence) screen.press(sequence);
    else {
      screen.ctrl = !screen.ctrl;
      screen.focus();
    }
    again((round) => round + 1);
  };
  const paste = async () => {
    try {
      screen.paste(await navigator.clipboard.readText());
    } catch {
      // The browser asks the person, who may say no.
    }
    screen.focus();
  };
  return html`<div class="keybar" role="toolbar" aria-label="More keys" onPointerDown=${keepFocus}>
    ${KEYS.map(
      ([label = "", sequence = ""]) => html`<button
        key=${label}
        class="key"
        type="button"
        aria-pressed=${sequence ? undefined : screen.ctrl ? "true" : "false"}
        onClick=${() => press(sequence)}
      >${label}</button>`,
    )}
    <button class="key" type="button" onClick=${paste}>Paste</button>
  </div>`;
}

/** The keyboard on the screen stays. @param {Event} event */
function keepFocus(event) {
  event.preventDefault();
}
