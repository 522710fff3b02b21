/**
 * A new password, with words about how good it is.
 */
import { html, classes } from "../html.js";
import { LEAST, MOST, strength } from "../passwords.js";
import { Field } from "./controls.js";

/**
 * @param {{ value: string, onInput: (value: string) => void, known?: string[], label?: string, error?: string, [key: string]: any }} props
 */
export function NewPassword({ value, onInput, known = [], label = "New password", ...rest }) {
  const found = strength(value, known);
  return html`<${Field}
    label=${label}
    type="password"
    name="new-password"
    autocomplete="new-password"
    minlength=${LEAST}
    maxlength=${MOST}
    required
    value=${value}
    onInput=${onInput}
    hint=${html`<span class=${`meter meter-${found.level}`} aria-hidden="true">
        ${[1, 2, 3, 4].map((step) => html`<span key=${step} class=${classes("meter-bar", step <= found.level && "is-on")}></span>`)}
      </span>
      <span aria-live="polite">${found.word && html`<strong>${found.word}.</strong> `}${found.advice}</span>`}
    ...${rest}
  />`;
}
