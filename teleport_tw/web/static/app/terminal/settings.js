/**
 * How terminals look and behave, for this person in this browser.
 */
import { html } from "../html.js";
import { useStore } from "../state.js";
import { Button, Checkbox, Dialog, Select } from "../ui/index.js";
import { SIZES, preferences } from "./preferences.js";
import { THEMES } from "./themes.js";

const SHORTCUTS = [
  ["Ctrl Shift C", "Copy what is selected"],
  ["Ctrl Shift V", "Paste"],
  ["Ctrl Shift F", "Search"],
  ["Ctrl Shift ← →", "The tab before, the tab after"],
  ["Ctrl Shift ↑", "Out of the terminal, to the tabs"],
  ["Shift + drag", "Select, where the program takes the mouse"],
];

const LINES = [1000, 5000, 10_000, 50_000];

/** @param {{ onClose: () => void }} props */
export function Settings({ onClose }) {
  const chosen = useStore(preferences);
  const themes = [
    { value: "page", label: "As the page" },
    ...Object.entries(THEMES).map(([value, { label }]) => ({ value, label })),
  ];
  return html`<${Dialog}
    title="Terminal settings"
    onClose=${onClose}
    footer=${html`<${Button} kind="primary" onClick=${onClose}>Done<//>`}
  >
    <div class="stack">
      <div class="terminal-choices">
        <${Select} label="Colours" value=${chosen.theme} options=${themes} onChange=${(/** @type {string} */ theme) => preferences.update({ theme })} />
        <${Select}
          label="Size of the letters"
          value=${String(chosen.fontSize)}
          options=${SIZES.map((size) => ({ value: String(size), label: `${size} px` }))}
          onChange=${(/** @type {string} */ size) => preferences.update({ fontSize: Number(size) })}
        />
        <${Select}
          label="Lines to scroll back"
          value=${String(chosen.scrollback)}
          options=${LINES.map((lines) => ({ value: String(lines), label: lines.toLocaleString() }))}
          onChange=${(/** @type {string} */ lines) => preferences.update({ scrollback: Number(lines) })}
        />
      </div>
      <${Checkbox}
        label="Ask before pasting several lines"
        hint="Where the program would run each of them at once."
        checked=${chosen.careful}
        onChange=${(/** @type {boolean} */ careful) => preferences.update({ careful })}
      />
      <${Checkbox}
        label="Show a bar with more keys"
        hint="Escape, Tab, Ctrl and arrows, for phones and tablets."
        checked=${chosen.bar}
        onChange=${(/** @type {boolean} */ bar) => preferences.update({ bar })}
      />
      <${Checkbox}
        label="Tell screen readers what appears"
        checked=${chosen.reader}
        onChange=${(/** @type {boolean} */ reader) => preferences.update({ reader })}
      />
      <div>
        <h3>Keys</h3>
        <dl class="terminal-keys">
          ${SHORTCUTS.map(([keys, about]) => html`<div key=${keys}><dt><kbd>${keys}</kbd></dt><dd>${about}</dd></div>`)}
        </dl>
      </div>
    </div>
  <//>`;
}
