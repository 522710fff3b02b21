/**
 * A token for hosts of any service, shown this once.
 */
import { api } from "../../api.js";
import { html, useState } from "../../html.js";
import { Button, Checkbox, CodeBlock, Dialog, Notice, Select, exactTime } from "../../ui/index.js";
import { Problem, useSaving } from "../admin/saving.js";

/**
 * What a token may let in.
 * @type {Record<string, { one: string, label: string }>}
 */
export const SERVICES = {
  Node: { one: "Server", label: "Servers, by SSH" },
  Db: { one: "Database", label: "Databases" },
  App: { one: "Application", label: "Applications" },
  Kube: { one: "Kubernetes", label: "Kubernetes clusters" },
  WindowsDesktop: { one: "Desktop", label: "Windows desktops" },
  Discovery: { one: "Discovery", label: "Discovery" },
  Proxy: { one: "Proxy", label: "Proxies" },
};

export const LASTING = [
  { value: "30m", label: "30 minutes" },
  { value: "1h", label: "One hour" },
  { value: "8h", label: "Eight hours" },
  { value: "24h", label: "One day" },
  { value: "168h", label: "One week" },
];

/**
 * @typedef {object} Made What making a token answers.
 * @property {string} id
 * @property {string} handle
 * @property {string[]} roles
 * @property {string} expiry
 * @property {string[]} caPin
 * @property {string} proxy
 * @property {string} command
 * @property {string} configure
 */

/** @param {{ onClose: () => void }} props */
export function NewToken({ onClose }) {
  const [roles, setRoles] = useState(/** @type {string[]} */ (["Node"]));
  const [ttl, setTtl] = useState("30m");
  const [once, setOnce] = useState(false);
  const [made, setMade] = useState(/** @type {Made | null} */ (null));
  const { busy, problem, save } = useSaving();
  if (made) {
    return html`<${Dialog} title="The token" onClose=${onClose} steady footer=${html`<${Button} kind="primary" onClick=${onClose}>Done<//>`}>
      <div class="stack">
        <p>It ends on ${exactTime(made.expiry)}. Copy it now: it is not shown again.</p>
        <${CodeBlock} text=${made.id} label="Copy the token" />
        <div class="stack-small">
          <h3>Start an agent with it</h3>
          <${CodeBlock} text=${made.command} label="Copy the command" />
        </div>
        <${Notice} tone="warn">Whoever has the token can join a host to this cluster.<//>
      </div>
    <//>`;
  }
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const answer = await save((extra) => api.post("/webapi/token", { roles, ttl, one_use: once, ...extra }));
    if (answer) setMade(answer);
  };
  return html`<${Dialog} title="New token" onClose=${onClose}>
    <form class="stack" onSubmit=${go}>
      <fieldset class="stack-small">
        <legend class="field-label legend">What may join by it</legend>
        ${Object.entries(SERVICES).map(
          ([role, { label }]) => html`<${Checkbox}
            key=${role}
            label=${label}
            checked=${roles.includes(role)}
            onChange=${(/** @type {boolean} */ on) => setRoles(on ? [...roles, role] : roles.filter((each) => each !== role))}
          />`,
        )}
      </fieldset>
      <${Select} label="It works for" value=${ttl} onChange=${setTtl} options=${LASTING} />
      <${Checkbox} label="Only once" hint="The first host that joins uses it up." checked=${once} onChange=${setOnce} />
      <${Problem} text=${problem} />
      <div class="form-foot">
        <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
        <${Button} kind="primary" type="submit" busy=${busy} disabled=${!roles.length}>Make the token<//>
      </div>
    </form>
  <//>`;
}
