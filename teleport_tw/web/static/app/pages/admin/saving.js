/**
 * What changes the cluster: one change at a time, with the second factor where the cluster wants one, and the reason
 * when it was refused.
 */
import { html, useState } from "../../html.js";
import { ApiError } from "../../api.js";
import { Cancelled, asAdmin } from "../../mfa.js";
import { may } from "../../state.js";
import { harmless } from "../../text.js";
import { Button, Dialog, Field, Notice } from "../../ui/index.js";

/** @typedef {{ mfa?: import("../../mfa.js").Answer }} Extra */

/**
 * @returns {{ busy: boolean, problem: string, save: <T>(run: (extra: Extra) => Promise<T>) => Promise<T | null>, forget: () => void }}
 *   `save` answers null when it did not come to pass.
 */
export function useSaving() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  /** @template T @param {(extra: Extra) => Promise<T>} run @returns {Promise<T | null>} */
  const save = async (run) => {
    setBusy(true);
    setProblem("");
    try {
      return await asAdmin(run);
    } catch (error) {
      if (error instanceof ApiError) setProblem(error.message);
      else if (!(error instanceof Cancelled)) throw error;
      return null;
    } finally {
      setBusy(false);
    }
  };
  return { busy, problem, save, forget: () => setProblem("") };
}

/** @type {Record<string, string>} */
const DOING = { create: "make", edit: "change", remove: "delete", list: "list", read: "read" };

/**
 * Why something cannot be done, or nothing.
 * @param {string} kind
 * @param {"create" | "edit" | "remove" | "list" | "read"} verb
 * @param {string} what such as “users”
 */
export function refused(kind, verb, what) {
  return may(kind, verb) ? "" : `None of your roles lets you ${DOING[verb]} ${what}.`;
}

/**
 * A button that says why it cannot be pressed.
 * @param {{ reason: string, children?: import("../../html.js").Children, [key: string]: any }} props
 */
export function Allowed({ reason, children, onClick, href, ...rest }) {
  if (!reason) return html`<${Button} ...${rest} onClick=${onClick} href=${href}>${children}<//>`;
  return html`<span class="allowed" title=${reason}><${Button} ...${rest} disabled aria-description=${reason}>${children}<//></span>`;
}

/** @param {{ text: string }} props */
export function Problem({ text }) {
  return text ? html`<${Notice} tone="bad">${text}<//>` : null;
}

/**
 * Before something goes for good: its name is typed.
 * @param {{
 *   title: string, name: string, confirm: string, onConfirm: (extra: Extra) => Promise<unknown>, onDone: () => void, onClose: () => void,
 *   children?: import("../../html.js").Children
 * }} props
 */
export function TypedConfirm({ title, name, confirm, onConfirm, onDone, onClose, children }) {
  const [typed, setTyped] = useState("");
  const { busy, problem, save } = useSaving();
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (typed !== name || busy) return;
    if ((await save(onConfirm)) !== null) onDone();
  };
  return html`<${Dialog} size="small" title=${title} onClose=${onClose}>
    <form class="stack" onSubmit=${go}>
      <div>${children}</div>
      <${Field}
        label=${`Type ${harmless(name, 255)} to confirm`}
        value=${typed}
        onInput=${setTyped}
        mono
        autofocus
        autocomplete="off"
        autocapitalize="none"
        spellcheck=${false}
      />
      <${Problem} text=${problem} />
      <div class="form-foot">
        <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
        <${Button} kind="danger" type="submit" busy=${busy} disabled=${typed !== name}>${confirm}<//>
      </div>
    </form>
  <//>`;
}
