/**
 * Several words in one field: each becomes a chip as soon as it is whole.
 */
import { html, useId, useRef, useState } from "../../html.js";
import { harmless } from "../../text.js";
import { Icon } from "../../ui/index.js";

/**
 * @param {{
 *   label: string, values: string[], onChange: (values: string[]) => void, suggestions?: string[], hint?: import("../../html.js").Children,
 *   optional?: boolean, disabled?: boolean, placeholder?: string, error?: string, only?: boolean
 * }} props `only`: nothing but what is suggested
 */
export function Words({ label, values, onChange, suggestions = [], hint, optional = false, disabled = false, placeholder, error, only = false }) {
  const id = useId();
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const low = typed.trim().toLowerCase();
  const fit = open ? suggestions.filter((each) => !values.includes(each) && each.toLowerCase().includes(low)).slice(0, 30) : [];

  const add = (/** @type {string} */ text) => {
    const words = text.split(/[\s,]+/).filter((word) => word && (!only || suggestions.includes(word)));
    const next = [...new Set([...values, ...words])];
    if (next.length > values.length) onChange(next);
    setTyped("");
    setAt(-1);
    setOpen(false);
  };
  const remove = (/** @type {string} */ word) => {
    onChange(values.filter((each) => each !== word));
    input.current?.focus();
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) return setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      return setAt(fit.length ? (at + step + fit.length) % fit.length : -1);
    }
    if (event.key === "Escape" && open && fit.length) {
      event.preventDefault();
      event.stopPropagation();
      return setOpen(false);
    }
    if (event.key === "Backspace" && !typed && values.length) return onChange(values.slice(0, -1));
    const chosen = fit[at];
    if (event.key === "Enter" && (chosen || typed.trim())) {
      event.preventDefault();
      return add(chosen ?? (only ? (fit[0] ?? typed) : typed));
    }
    if (event.key === "," || (event.key === " " && typed.trim())) {
      event.preventDefault();
      add(typed);
    }
    return undefined;
  };
  const about = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return html`<div class=${error ? "field has-error" : "field"}>
    <label class="field-label" for=${id}>${label}${optional && html` <span class="field-optional">optional</span>`}</label>
    <div class="words-box">
      <div class="words input" onClick=${(/** @type {Event} */ event) => event.target === event.currentTarget && input.current?.focus()}>
        ${values.map(
          (word) => html`<span key=${word} class="chip word">
            <span class="chip-text">${harmless(word, 100)}</span>
            ${!disabled &&
            html`<button type="button" aria-label=${`Remove ${harmless(word, 100)}`} onClick=${() => remove(word)}><${Icon} name="close" size=${14} /></button>`}
          </span>`,
        )}
        <input
          ref=${input}
          id=${id}
          class="words-input"
          value=${typed}
          placeholder=${values.length ? undefined : placeholder}
          disabled=${disabled}
          autocomplete="off"
          autocapitalize="none"
          spellcheck=${false}
          role=${suggestions.length ? "combobox" : undefined}
          aria-expanded=${suggestions.length ? (fit.length ? "true" : "false") : undefined}
          aria-controls=${fit.length ? `${id}-list` : undefined}
          aria-activedescendant=${fit[at] ? `${id}-${at}` : undefined}
          aria-invalid=${error ? "true" : undefined}
          aria-describedby=${about || undefined}
          onFocus=${() => setOpen(true)}
          onClick=${() => setOpen(true)}
          onBlur=${() => {
            setOpen(false);
            if (typed.trim()) add(typed);
          }}
          onInput=${(/** @type {any} */ event) => {
            setTyped(event.currentTarget.value);
            setOpen(true);
            setAt(-1);
          }}
          onPaste=${(/** @type {ClipboardEvent} */ event) => {
            const text = event.clipboardData?.getData("text/plain") ?? "";
            if (!/[\s,]/.test(text.trim())) return;
            event.preventDefault();
            add(text);
          }}
          onKeyDown=${keys}
        />
      </div>
      ${fit.length > 0 &&
      html`<div class="words-list" id=${`${id}-list`} role="listbox" aria-label=${label}>
        ${fit.map(
          (word, index) => html`<div
            key=${word}
            id=${`${id}-${index}`}
            role="option"
            aria-selected=${index === at ? "true" : "false"}
            class=${index === at ? "menu-item is-at" : "menu-item"}
            onPointerDown=${(/** @type {Event} */ event) => {
              event.preventDefault();
              add(word);
            }}
          >
            ${harmless(word, 100)}
          </div>`,
        )}
      </div>`}
    </div>
    ${error && html`<p class="field-error" id=${`${id}-error`}><${Icon} name="alert" size=${16} /><span>${error}</span></p>`}
    ${hint && html`<div class="field-hint" id=${`${id}-hint`}>${hint}</div>`}
  </div>`;
}
