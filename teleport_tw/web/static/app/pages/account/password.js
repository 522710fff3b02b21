/**
 * The password, and changing it.
 */
import { html, useState } from "../../html.js";
import { api } from "../../api.js";
import { Cancelled, withMfa } from "../../mfa.js";
import { session, toast, useStore } from "../../state.js";
import { LEAST } from "../../passwords.js";
import { Button, Dialog, Field, Notice } from "../../ui/index.js";
import { NewPassword } from "../../ui/new-password.js";

/** @param {{ devices: import("../../load.js").Loaded<any>, onChanged: () => void }} props */
export function Password({ devices, onChanged }) {
  const [open, setOpen] = useState(false);
  const missing = useStore(session).context?.passwordState === "unset";
  return html`<section class="card">
    <div class="card-head">
      <div class="grow">
        <h2>Password</h2>
        <p>${missing ? "You have none; you sign in with a passkey." : "Changing it ends your sign-ins in other browsers."}</p>
      </div>
      <${Button} onClick=${() => setOpen(true)}>${missing ? "Set a password" : "Change password"}<//>
    </div>
    ${open && html`<${Change} missing=${missing} factor=${Boolean(devices.data?.items.length)} onChanged=${onChanged} onClose=${() => setOpen(false)} />`}
  </section>`;
}

/** @param {{ missing: boolean, factor: boolean, onChanged: () => void, onClose: () => void }} props */
function Change({ missing, factor, onChanged, onClose }) {
  const { context } = useStore(session);
  const name = context?.userName ?? "";
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const save = async () => {
    setBusy(true);
    setProblem("");
    const body = { old_password: old, new_password: fresh };
    try {
      if (factor) {
        const asked = { scope: /** @type {const} */ ("manage_devices"), reason: "Changing your password needs your second factor." };
        await withMfa(asked, (answer) => api.put("/webapi/users/password", { ...body, ...answer }));
      } else await api.put("/webapi/users/password", body);
      toast(missing ? "Your password has been set." : "Your password has been changed.");
      onClose();
      onChanged();
      const { status, context: known } = session.get();
      if (known) session.set({ status, context: { ...known, passwordState: "set" } });
    } catch (error) {
      if (!(error instanceof Cancelled)) setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  const short = [...fresh].length < LEAST || (!missing && !old);
  return html`<${Dialog}
    size="small"
    steady
    title=${missing ? "Set a password" : "Change password"}
    onClose=${onClose}
    footer=${html`<${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" form="change-password" busy=${busy} disabled=${short}>Save<//>`}
  >
    <form
      class="stack"
      id="change-password"
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (!busy && !short) save();
      }}
    >
      <input class="hidden" type="text" name="username" autocomplete="username" value=${name} readonly tabindex="-1" aria-hidden="true" />
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      ${!missing &&
      html`<${Field} label="Current password" type="password" name="password" autocomplete="current-password" autofocus value=${old} onInput=${setOld} />`}
      <${NewPassword} known=${[name, context?.cluster?.clusterId ?? ""]} value=${fresh} onInput=${setFresh} />
    </form>
  <//>`;
}
