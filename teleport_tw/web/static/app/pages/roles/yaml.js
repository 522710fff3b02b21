/**
 * YAML with numbered lines; what is wrong with it stands at its line, a moment after it was typed.
 */
import { api } from "../../api.js";
import { html, classes, useEffect, useId, useRef, useState } from "../../html.js";
import { useSettled } from "../../load.js";
import { Icon } from "../../ui/index.js";

/** @typedef {{ message: string, line: number }} Mistake */

/** @param {string} yaml @returns {Mistake[] | null} Null while it is not known. */
export function useMistakes(yaml) {
  const settled = useSettled(yaml, 350);
  const [mistakes, setMistakes] = useState(/** @type {Mistake[] | null} */ (null));
  useEffect(() => {
    if (!settled.trim()) {
      setMistakes(null);
      return undefined;
    }
    const stop = new AbortController();
    api.post("/webapi/yaml/parse/role", { yaml: settled }, { signal: stop.signal }).then(
      (answer) => setMistakes(answer.errors),
      () => {},
    );
    return () => stop.abort();
  }, [settled]);
  return mistakes;
}

/** @param {{ label: string, value: string, mistakes: Mistake[] | null, readonly: boolean, onInput: (value: string) => void }} props */
export function YamlEditor({ label, value, mistakes, readonly, onInput }) {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const gutter = useRef(/** @type {HTMLDivElement | null} */ (null));
  const id = useId();
  const count = value.split("\n").length;
  const wrong = new Set((mistakes ?? []).map(({ line }) => line));
  const go = (/** @type {number} */ line) => {
    const element = area.current;
    if (!element || line < 1) return;
    const lines = value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    element.focus();
    element.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    element.scrollTop = Math.max(0, (element.scrollHeight / count) * (line - 4));
  };
  return html`<div class="stack-small">
    <div class=${classes("yaml", wrong.size > 0 && "has-error")}>
      <div class="yaml-gutter" ref=${gutter} aria-hidden="true">
        ${Array.from({ length: count }, (_one, index) => html`<span key=${index} class=${wrong.has(index + 1) ? "is-wrong" : ""}>${index + 1}</span>`)}
      </div>
      <textarea
        ref=${area}
        class="yaml-text mono"
        aria-label=${label}
        aria-invalid=${wrong.size ? "true" : undefined}
        aria-describedby=${mistakes?.length ? id : undefined}
        spellcheck=${false}
        autocapitalize="none"
        autocomplete="off"
        wrap="off"
        readonly=${readonly}
        rows=${Math.min(32, Math.max(14, count + 1))}
        value=${value}
        onInput=${(/** @type {any} */ event) => onInput(event.currentTarget.value)}
        onScroll=${() => {
          if (gutter.current && area.current) gutter.current.scrollTop = area.current.scrollTop;
        }}
      ></textarea>
    </div>
    <div role="status">
      ${mistakes?.length === 0 && html`<p class="yaml-good"><${Icon} name="check" size=${16} />It can be saved as it is.</p>`}
      ${Boolean(mistakes?.length) &&
      html`<ul class="yaml-mistakes" id=${id}>
        ${mistakes?.map(
          ({ message, line }, index) => html`<li key=${index} class="field-error">
            <${Icon} name="alert" size=${16} />
            <span>${line > 0 && html`<button type="button" class="link" onClick=${() => go(line)}>Line ${line}</button>: `}${message}</span>
          </li>`,
        )}
      </ul>`}
    </div>
  </div>`;
}
