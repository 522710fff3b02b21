/**
 * Searches what a terminal has shown.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { Button } from "../ui/index.js";

/** @param {{ screen: import("./screen.js").Screen, onClose: () => void }} props */
export function Finder({ screen, onClose }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(/** @type {boolean | null} */ (null));
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => {
    input.current?.focus();
    return () => screen.stopFinding();
  }, [screen]);
  const find = (/** @type {string} */ wanted, back = false) => setFound(wanted ? screen.find(wanted, back) : null);
  const type = (/** @type {string} */ wanted) => {
    setText(wanted);
    if (!wanted) screen.stopFinding();
    find(wanted, true);
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter") find(text, !event.shiftKey);
    else if (event.key === "Escape") onClose();
    else return;
    event.preventDefault();
  };
  return html`<div class="finder" role="search" onKeyDown=${keys}>
    <input
      ref=${input}
      class="input"
      type="text"
      value=${text}
      placeholder="Search the terminal"
      aria-label="Search the terminal"
      autocomplete="off"
      spellcheck=${false}
      onInput=${(/** @type {any} */ event) => type(event.currentTarget.value)}
    />
    <span class="finder-said" role="status">${found === false ? "Not found" : ""}</span>
    <${Button} kind="quiet" size="small" icon="chevronUp" label="Earlier" onClick=${() => find(text, true)} />
    <${Button} kind="quiet" size="small" icon="chevronDown" label="Later" onClick=${() => find(text)} />
    <${Button} kind="quiet" size="small" icon="close" label="Close the search" onClick=${onClose} />
  </div>`;
}
