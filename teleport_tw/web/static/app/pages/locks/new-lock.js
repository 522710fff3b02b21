/**
 * A new lock: on what, why, and for how long.
 */
import { api } from "../../api.js";
import { html, useId, useState } from "../../html.js";
import { useLoad } from "../../load.js";
import { may, session, toast } from "../../state.js";
import { harmless } from "../../text.js";
import { Button, Dialog, Field, Notice, Select } from "../../ui/index.js";
import { Problem, useSaving } from "../admin/saving.js";

/**
 * What can be locked, and how its value is called.
 * @type {Record<string, { label: string, value: string, hint?: string }>}
 */
export const TARGETS = {
  user: { label: "User", value: "User name" },
  role: { label: "Role", value: "Name of the role", hint: "Everybody who has it is shut out." },
  login: { label: "Account on servers", value: "Account", hint: "Nobody gets in as this account, on any server." },
  server_id: { label: "Server", value: "Id of the server", hint: "As the list of servers has it." },
  mfa_device: { label: "Second factor", value: "Id of the device", hint: "Audit events name it as mfa_device_uuid." },
  device: { label: "Computer", value: "Id of the trusted device" },
  access_request: { label: "Access request", value: "Id of the request" },
  windows_desktop: { label: "Desktop", value: "Name of the desktop" },
  join_token: { label: "Join token", value: "Name of the token" },
  bot_instance_id: { label: "Bot", value: "Id of the instance" },
};

const LASTING = [
  { value: "", label: "Until somebody lifts it" },
  { value: "15m", label: "15 minutes" },
  { value: "1h", label: "One hour" },
  { value: "8h", label: "Eight hours" },
  { value: "24h", label: "One day" },
  { value: "168h", label: "One week" },
  { value: "720h", label: "30 days" },
];

/** @param {{ site: string, kind: string, value: string, onDone: () => void, onClose: () => void }} props */
export function NewLock({ site, kind: first, value: given, onDone, onClose }) {
  const [kind, setKind] = useState(first in TARGETS ? first : "user");
  const [value, setValue] = useState(given);
  const [message, setMessage] = useState("");
  const [ttl, setTtl] = useState("");
  const { busy, problem, save } = useSaving();
  const list = useId();
  const known = useKnown(site, kind);
  const target = /** @type {{ label: string, value: string, hint?: string }} */ (TARGETS[kind]);
  const me = session.get().context;
  const self = (kind === "user" && value === me?.userName) || (kind === "role" && me?.roles.includes(value));
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const body = { targets: { [kind]: value.trim() }, message: message.trim(), ttl };
    const made = await save((extra) => api.post(`/webapi/sites/${encodeURIComponent(site)}/locks`, { ...body, ...extra }));
    if (!made) return;
    toast(`${target.label} ${harmless(value, 80)} is locked.`);
    onDone();
  };
  return html`<${Dialog} title="New lock" onClose=${onClose}>
    <form class="stack" onSubmit=${go}>
      <div class="form-two">
        <${Select}
          label="Lock"
          value=${kind}
          onChange=${(/** @type {string} */ chosen) => {
            setKind(chosen);
            setValue("");
          }}
          options=${Object.entries(TARGETS).map(([key, { label }]) => ({ value: key, label }))}
        />
        <div>
          <${Field} label=${target.value} value=${value} onInput=${setValue} hint=${target.hint} list=${list} required autofocus autocomplete="off" autocapitalize="none" spellcheck=${false} />
          <datalist id=${list}>${known.map(({ id, name }) => html`<option key=${id} value=${id}>${name}</option>`)}</datalist>
        </div>
      </div>
      <${Field} label="Message" optional value=${message} onInput=${setMessage} maxlength="1000" hint="Shown to whoever is shut out." />
      <${Select} label="It lasts" value=${ttl} onChange=${setTtl} options=${LASTING} />
      ${self && html`<${Notice} tone="warn" live>This locks you out as well, at once.<//>`}
      <${Problem} text=${problem} />
      <div class="form-foot">
        <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
        <${Button} kind="danger" type="submit" busy=${busy} disabled=${!value.trim()}>Lock<//>
      </div>
    </form>
  <//>`;
}

/**
 * What there is of a kind, to choose from.
 * @param {string} site
 * @param {string} kind
 * @returns {{ id: string, name: string }[]}
 */
function useKnown(site, kind) {
  const { data } = useLoad(
    async (signal) => {
      const named = (/** @type {any[]} */ items) => items.map(({ name }) => ({ id: name, name: harmless(name, 80) }));
      if (kind === "user" && may("user", "list")) return named((await api.get("/webapi/users", { signal })).items);
      if (kind === "role" && may("role", "list")) return named((await api.get("/webapi/roles", { signal })).items);
      if (kind === "server_id") {
        const { items } = await api.get(`/webapi/sites/${encodeURIComponent(site)}/nodes`, { query: { limit: 100 }, signal });
        return items.map((/** @type {any} */ node) => ({ id: node.id, name: harmless(node.hostname, 80) }));
      }
      return [];
    },
    [site, kind],
  );
  return data ?? [];
}
