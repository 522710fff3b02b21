/**
 * What people press, type into and choose from.
 */
import { html, classes, useEffect, useId, useRef, useState } from "../html.js";
import { Icon } from "./icons.js";

/** @typedef {import("../html.js").Children} Children */

/**
 * A button, or a link that looks like one when it has an `href`.
 *
 * While `busy` it keeps its width, shows a spinner and cannot be pressed.
 * @param {{
 *   kind?: "primary" | "plain" | "quiet" | "danger", size?: "normal" | "small", icon?: string, busy?: boolean,
 *   disabled?: boolean, type?: "button" | "submit", href?: string, onClick?: (event: MouseEvent) => void, wide?: boolean,
 *   label?: string, class?: string, children?: Children, [key: string]: any
 * }} props `label` names a button that has an icon only
 */
export function Button({
  kind = "plain",
  size = "normal",
  icon,
  busy = false,
  disabled = false,
  type = "button",
  href,
  wide = false,
  label,
  class: extra,
  children,
  ...rest
}) {
  const names = classes(
    "button",
    `button-${kind}`,
    size === "small" && "button-small",
    wide && "button-wide",
    !children && "button-icon",
    busy && "is-busy",
    extra,
  );
  const inside = html`
    ${icon && html`<${Icon} name=${icon} size=${size === "small" ? 16 : 18} />`}
    ${children && html`<span class="button-text">${children}</span>`}
    ${busy && html`<span class="button-spinner"><${Spinner} /></span>`}
  `;
  if (href !== undefined && !disabled) {
    return html`<a class=${names} href=${href} aria-label=${label} title=${label} ...${rest}>${inside}</a>`;
  }
  return html`<button
    class=${names}
    type=${type}
    disabled=${disabled || busy}
    aria-busy=${busy ? "true" : undefined}
    aria-label=${label}
    title=${label}
    ...${rest}
  >
    ${inside}
  </button>`;
}

/**
 * A turning ring. Say what is awaited in `label` when nothing near it does.
 * @param {{ label?: string, large?: boolean }} props
 */
export function Spinner({ label, large = false }) {
  return html`<span class=${classes("spinner", large && "spinner-large")} role=${label ? "status" : undefined}
    >${label && html`<span class="hidden">${label}</span>`}</span
  >`;
}

/**
 * A label, an input, a hint below it, and what is wrong with it.
 * @param {{
 *   label: string, value: string, onInput: (value: string) => void, type?: string, hint?: Children, error?: string,
 *   name?: string, autocomplete?: string, required?: boolean, autofocus?: boolean, inputmode?: string, optional?: boolean,
 *   multiline?: number, mono?: boolean, hideLabel?: boolean, [key: string]: any
 * }} props `multiline` is a number of lines; passwords get a button that shows them
 */
export function Field({
  label,
  value,
  onInput,
  type = "text",
  hint,
  error,
  optional = false,
  multiline = 0,
  mono = false,
  hideLabel = false,
  autofocus = false,
  ...rest
}) {
  const id = useId();
  const [shown, setShown] = useState(false);
  const secret = type === "password";
  const input = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (autofocus && !rest.disabled) input.current?.focus();
  }, [autofocus, rest.disabled]);
  const about = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const shared = {
    id,
    value,
    class: classes("input", mono && "mono", secret && "input-secret"),
    "aria-invalid": error ? "true" : undefined,
    "aria-describedby": about || undefined,
    onInput: (/** @type {any} */ event) => onInput(event.currentTarget.value),
    ref: input,
    ...rest,
  };
  return html`<div class=${classes("field", error && "has-error")}>
    <label class=${hideLabel ? "hidden" : "field-label"} for=${id}>
      ${label}${optional && html` <span class="field-optional">optional</span>`}
    </label>
    <div class="field-box">
      ${multiline
        ? html`<textarea rows=${multiline} ...${shared}></textarea>`
        : html`<input type=${secret && shown ? "text" : type} ...${shared} />`}
      ${secret &&
      html`<button
        class="field-reveal"
        type="button"
        aria-label=${shown ? "Hide the password" : "Show the password"}
        aria-pressed=${shown ? "true" : "false"}
        onClick=${() => setShown(!shown)}
      >
        <${Icon} name=${shown ? "eyeOff" : "eye"} size=${18} />
      </button>`}
    </div>
    ${error && html`<p class="field-error" id=${`${id}-error`}><${Icon} name="alert" size=${16} /><span>${error}</span></p>`}
    ${hint && html`<div class="field-hint" id=${`${id}-hint`}>${hint}</div>`}
  </div>`;
}

/**
 * One of a few.
 * @param {{
 *   label: string, value: string, onChange: (value: string) => void, options: { value: string, label: string }[],
 *   hint?: Children, hideLabel?: boolean, disabled?: boolean, [key: string]: any
 * }} props
 */
export function Select({ label, value, onChange, options, hint, hideLabel = false, ...rest }) {
  const id = useId();
  return html`<div class="field">
    <label class=${hideLabel ? "hidden" : "field-label"} for=${id}>${label}</label>
    <div class="field-box select-box">
      <select
        class="input select"
        id=${id}
        value=${value}
        onChange=${(/** @type {any} */ event) => onChange(event.currentTarget.value)}
        ...${rest}
      >
        ${options.map(
          (option) => html`<option key=${option.value} value=${option.value} selected=${option.value === value}>${option.label}</option>`,
        )}
      </select>
      <${Icon} name="chevronDown" size=${16} />
    </div>
    ${hint && html`<div class="field-hint">${hint}</div>`}
  </div>`;
}

/**
 * Yes or no.
 * @param {{ label: Children, checked: boolean, onChange: (checked: boolean) => void, hint?: Children, disabled?: boolean, [key: string]: any }} props
 */
export function Checkbox({ label, checked, onChange, hint, ...rest }) {
  const id = useId();
  return html`<div class="checkbox">
    <input
      type="checkbox"
      id=${id}
      checked=${checked}
      aria-describedby=${hint ? `${id}-hint` : undefined}
      onChange=${(/** @type {any} */ event) => onChange(event.currentTarget.checked)}
      ...${rest}
    />
    <label for=${id}>${label}</label>
    ${hint && html`<p class="field-hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

/**
 * Types to search. It says what it searches, and Escape empties it.
 * @param {{ value: string, onInput: (value: string) => void, label: string, busy?: boolean, [key: string]: any }} props
 */
export function SearchBox({ value, onInput, label, busy = false, ...rest }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const empty = () => {
    onInput("");
    input.current?.focus();
  };
  return html`<div class="search" role="search">
    <span class="search-sign">${busy ? html`<${Spinner} />` : html`<${Icon} name="search" size=${18} />`}</span>
    <input
      ref=${input}
      class="input search-input"
      type="search"
      value=${value}
      placeholder=${label}
      aria-label=${label}
      autocomplete="off"
      spellcheck=${false}
      onInput=${(/** @type {any} */ event) => onInput(event.currentTarget.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Escape" && value && (event.preventDefault(), empty())}
      ...${rest}
    />
    ${value &&
    html`<button class="search-clear" type="button" aria-label="Empty the search" onClick=${empty}>
      <${Icon} name="close" size=${16} />
    </button>`}
  </div>`;
}

/**
 * The filters in force, each with a cross, and one that drops them all.
 * @param {{ filters: { key: string, label: string }[], onRemove: (key: string) => void, onClear: () => void }} props
 */
export function FilterChips({ filters, onRemove, onClear }) {
  if (!filters.length) return null;
  return html`<ul class="chips" aria-label="Filters in force">
    ${filters.map(
      ({ key, label }) => html`<li key=${key} class="chip">
        <span class="chip-text">${label}</span>
        <button type="button" aria-label=${`Remove the filter ${label}`} onClick=${() => onRemove(key)}>
          <${Icon} name="close" size=${14} />
        </button>
      </li>`,
    )}
    ${filters.length > 1 && html`<li><button class="link" type="button" onClick=${onClear}>Clear all</button></li>`}
  </ul>`;
}

/**
 * Two to five choices side by side, one chosen.
 * @param {{ label: string, value: string, onChange: (value: string) => void, options: { value: string, label: string, icon?: string }[] }} props
 */
export function Segments({ label, value, onChange, options }) {
  const name = useId();
  return html`<fieldset class="segments">
    <legend class="hidden">${label}</legend>
    ${options.map(
      (option) => html`<label key=${option.value} class=${classes("segment", option.value === value && "is-chosen")}>
        <input
          class="hidden"
          type="radio"
          name=${name}
          value=${option.value}
          checked=${option.value === value}
          onChange=${() => onChange(option.value)}
        />
        ${option.icon && html`<${Icon} name=${option.icon} size=${16} />`}
        <span>${option.label}</span>
      </label>`,
    )}
  </fieldset>`;
}
