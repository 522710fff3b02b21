/**
 * Second factors: the list, adding one, renaming one, removing one, and recovery codes.
 */
import { html, useState } from "../../html.js";
import { api } from "../../api.js";
import { Cancelled, withMfa } from "../../mfa.js";
import { toast } from "../../state.js";
import { Badge, Button, Confirm, Dialog, ErrorState, Field, Icon, Notice, Skeleton, Timeago } from "../../ui/index.js";
import { AppSetup, KINDS, KindChoice, kindsOf, registerKey } from "../../ui/new-device.js";
import { RecoveryCodes } from "../../ui/recovery-codes.js";

/**
 * @typedef {import("../../ui/new-device.js").DeviceKind} DeviceKind
 * @typedef {{ id: string, name: string, type: string, addedAt: string, lastUsed: string, passwordless: boolean, suspect?: boolean }} Device
 */

/** @param {Device} device @returns {DeviceKind} */
function kindOf(device) {
  if (device.type === "totp") return "app";
  return device.passwordless ? "passkey" : "key";
}

/**
 * @param {{ devices: import("../../load.js").Loaded<any>, auth: any, user: string, cluster: string }} props
 */
export function Devices({ devices, auth, user, cluster }) {
  const [adding, setAdding] = useState(false);
  const [renaming, setRenaming] = useState(/** @type {Device | null} */ (null));
  const [removing, setRemoving] = useState(/** @type {Device | null} */ (null));
  const [codes, setCodes] = useState(/** @type {string[] | null} */ (null));
  /** @type {Device[]} */
  const list = devices.data?.items ?? [];
  const left = Number(devices.data?.recoveryCodes ?? 0);
  const renewCodes = async () => {
    try {
      const reason = "New recovery codes make the old ones useless.";
      const answer = await withMfa({ scope: "manage_devices", reason }, (proof) => api.post("/webapi/mfa/recovery", proof));
      setCodes(answer.codes);
    } catch (error) {
      if (!(error instanceof Cancelled)) toast(error instanceof Error ? error.message : String(error), "bad");
    }
  };
  return html`<section class="card" aria-labelledby="devices-title">
    <div class="card-head">
      <div class="grow">
        <h2 id="devices-title">Second factors</h2>
        <p>What proves that it is you, beside the password. Have at least two, in case one is lost.</p>
      </div>
      <${Button} icon="plus" disabled=${!auth || !devices.data} onClick=${() => setAdding(true)}>Add<//>
    </div>
    ${devices.error && !devices.data && html`<${ErrorState} error=${devices.error} onRetry=${devices.reload} />`}
    ${!devices.data && !devices.error && [1, 2].map((line) => html`<div key=${line} class="card-line"><div class="grow"><${Skeleton} lines=${2} /></div></div>`)}
    ${devices.data && !list.length && html`<div class="card-line soft">You have none yet.</div>`}
    <ul>
      ${list.map(
        (device) => html`<li key=${device.id} class="card-line">
          <span class="card-sign"><${Icon} name=${KINDS[kindOf(device)].icon} /></span>
          <div class="grow">
            <div class="row"><span class="cell-title">${device.name}</span>${device.suspect && html`<${Badge} tone="bad">Copied<//>`}</div>
            <div class="cell-sub">
              ${KINDS[kindOf(device)].title} · ${device.lastUsed ? html`used <${Timeago} time=${device.lastUsed} />` : "never used"}${device.addedAt && html`<span class="cell-more"> · added <${Timeago} time=${device.addedAt} /></span>`}
            </div>
            ${device.suspect && html`<p class="field-error">There seems to be a copy of this key, so it is not accepted any more. Remove it.</p>`}
          </div>
          <${Button} kind="quiet" icon="edit" label=${`Rename ${device.name}`} onClick=${() => setRenaming(device)} />
          <${Button} kind="quiet" icon="trash" label=${`Remove ${device.name}`} onClick=${() => setRemoving(device)} />
        </li>`,
      )}
    </ul>
    ${devices.data &&
    list.length > 0 &&
    html`<div class="card-line">
      <span class="card-sign"><${Icon} name="lock" /></span>
      <div class="grow">
        <div class="cell-title">Recovery codes</div>
        <div class="cell-sub">${left === 0 ? "None left" : `${left} left`}. For the day the others are gone.</div>
      </div>
      <${Button} size="small" onClick=${renewCodes}>New codes<//>
    </div>`}
    ${adding &&
    html`<${Add}
      auth=${auth}
      names=${list.map((device) => device.name)}
      onClose=${() => setAdding(false)}
      onDone=${() => {
        setAdding(false);
        devices.reload();
      }}
    />`}
    ${renaming &&
    html`<${Rename}
      device=${renaming}
      names=${list.filter((device) => device !== renaming).map((device) => device.name)}
      onClose=${() => setRenaming(null)}
      onDone=${() => {
        setRenaming(null);
        devices.reload();
      }}
    />`}
    ${removing &&
    html`<${Confirm}
      danger
      title=${`Remove ${removing.name}?`}
      confirm="Remove"
      onClose=${() => setRemoving(null)}
      onConfirm=${() => remove(removing, devices.reload)}
    >
      <p>You cannot sign in with it any more.</p>
    <//>`}
    ${codes &&
    html`<${Dialog} steady title="New recovery codes" onClose=${() => setCodes(null)}>
      <${RecoveryCodes}
        codes=${codes}
        user=${user}
        cluster=${cluster}
        done="Done"
        onDone=${() => {
          setCodes(null);
          devices.reload();
        }}
      />
    <//>`}
  </section>`;
}

/** @param {Device} device @param {() => void} after */
async function remove(device, after) {
  try {
    await withMfa({ scope: "manage_devices", reason: "Removing a second factor needs one." }, (proof) =>
      api.del(`/webapi/mfa/devices/${encodeURIComponent(device.id)}`, proof),
    );
    toast(`${device.name} has been removed.`);
    after();
  } catch (error) {
    if (!(error instanceof Cancelled)) throw error;
  }
}

/**
 * @param {{ device: Device, names: string[], onClose: () => void, onDone: () => void }} props
 */
function Rename({ device, names, onClose, onDone }) {
  const [name, setName] = useState(device.name);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const wanted = name.trim();
  const taken = names.includes(wanted);
  const rename = async () => {
    if (busy || !wanted || taken) return;
    if (wanted === device.name) return onClose();
    setBusy(true);
    setProblem("");
    try {
      await api.put(`/webapi/mfa/devices/${encodeURIComponent(device.id)}`, { name: wanted });
      toast(`${device.name} is ${wanted} now.`);
      onDone();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return html`<${Dialog}
    size="small"
    title=${`Rename ${device.name}`}
    onClose=${onClose}
    footer=${html`<${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" form="rename-device" busy=${busy} disabled=${!wanted || taken}>Rename<//>`}
  >
    <form
      class="stack"
      id="rename-device"
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        rename();
      }}
    >
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <${Field} label="Name" autofocus autocomplete="off" maxlength="64" value=${name} onInput=${setName} error=${taken ? "You have one of that name." : ""} />
    </form>
  <//>`;
}

/**
 * @param {{ auth: any, names: string[], onClose: () => void, onDone: () => void }} props
 */
function Add({ auth, names, onClose, onDone }) {
  const [kind, setKind] = useState(/** @type {DeviceKind | null} */ (null));
  const [name, setName] = useState("");
  const [ticket, setTicket] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const kinds = kindsOf(auth?.second_factors ?? [], Boolean(auth?.allow_passwordless));
  const taken = names.includes(name.trim());

  /** @param {() => Promise<void>} work */
  const attempt = async (work) => {
    setBusy(true);
    setProblem("");
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Cancelled)) setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  /** @param {any} begun @param {import("../../ui/new-device.js").Proof} proof */
  const add = async (begun, proof) => {
    await api.post("/webapi/mfa/devices", { ticket: begun.id, ...proof });
    toast(`${name.trim()} has been added.`);
    onDone();
  };
  const begin = () =>
    attempt(async () => {
      const body = { type: kind === "app" ? "totp" : "webauthn", name: name.trim(), passwordless: kind === "passkey" };
      const ask = (/** @type {any} */ proof) => api.post("/webapi/mfa/devices/begin", { ...body, ...proof });
      const begun = names.length ? await withMfa({ scope: "manage_devices", reason: "Adding a second factor needs one that you have." }, ask) : await ask({});
      if (kind === "app") setTicket(begun);
      else await add(begun, await registerKey(begun.webauthn.publicKey));
    });

  if (ticket) {
    return html`<${Dialog} size="small" steady title="Authenticator app" onClose=${onClose}>
      <${AppSetup}
        qr=${ticket.qrCode}
        secret=${ticket.otpSecret}
        problem=${problem}
        busy=${busy}
        submit="Add the app"
        onCode=${(/** @type {string} */ code) => attempt(() => add(ticket, { second_factor_token: code }))}
      />
    <//>`;
  }
  if (!kind) {
    return html`<${Dialog} size="small" title="Add a second factor" onClose=${onClose}>
      <${KindChoice}
        kinds=${kinds}
        onChoose=${(/** @type {DeviceKind} */ chosen) => {
          setKind(chosen);
          setName(unused(KINDS[chosen].name, names));
        }}
      />
      ${!kinds.length && html`<${Notice}>This browser cannot use any of the factors that the cluster accepts.<//>`}
    <//>`;
  }
  return html`<${Dialog}
    size="small"
    title=${`Add: ${KINDS[kind].title.toLowerCase()}`}
    onClose=${onClose}
    footer=${html`<${Button} onClick=${() => setKind(null)}>Back<//>
      <${Button} kind="primary" type="submit" form="add-device" busy=${busy} disabled=${!name.trim() || taken}>Continue<//>`}
  >
    <form
      class="stack"
      id="add-device"
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (!busy && name.trim() && !taken) begin();
      }}
    >
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <${Field}
        label="Name"
        hint="So that you know it among others."
        autofocus
        autocomplete="off"
        maxlength="64"
        value=${name}
        onInput=${setName}
        error=${taken ? "You have one of that name." : ""}
      />
    </form>
  <//>`;
}

/** @param {string} name @param {string[]} names */
function unused(name, names) {
  for (let count = 1; ; count++) {
    const tried = count === 1 ? name : `${name} ${count}`;
    if (!names.includes(tried)) return tried;
  }
}
