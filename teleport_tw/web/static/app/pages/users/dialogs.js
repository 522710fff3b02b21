/**
 * What is done to a user: added, changed, given a new way in.
 */
import { api } from "../../api.js";
import { html, useState } from "../../html.js";
import { useLoad } from "../../load.js";
import { may, toast } from "../../state.js";
import { harmless } from "../../text.js";
import { Button, CodeBlock, Dialog, Field, Notice, Select, exactTime } from "../../ui/index.js";
import { Problem, useSaving } from "../admin/saving.js";
import { Words } from "../admin/words.js";

/** @typedef {import("../users.js").User} User */
/** @typedef {{ url: string, user: string, purpose: string, expires: string }} Link */

/** What roles ask of a user, beside the accounts on servers. */
const TRAITS = [
  "db_users", "db_names", "db_roles", "kubernetes_users", "kubernetes_groups", "windows_logins", "aws_role_arns",
  "azure_identities", "gcp_service_accounts", "host_user_uid", "host_user_gid", "github_teams",
];

const LASTING = [
  { value: "1h", label: "One hour" },
  { value: "8h", label: "Eight hours" },
  { value: "24h", label: "One day" },
  { value: "48h", label: "Two days" },
];

/** Names of the cluster's roles, where one may see them. @returns {string[]} */
function useRoles() {
  const { data } = useLoad(async (signal) => (may("role", "list") ? (await api.get("/webapi/roles", { signal })).items : []), []);
  return (data ?? []).map((/** @type {{ name: string }} */ role) => role.name);
}

/** @param {{ onMade: () => void, onClose: () => void }} props */
export function NewUser({ onMade, onClose }) {
  const roles = useRoles();
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState(/** @type {string[]} */ ([]));
  const [traits, setTraits] = useState(/** @type {Record<string, string[]>} */ ({}));
  const [ttl, setTtl] = useState("1h");
  const [link, setLink] = useState(/** @type {Link | null} */ (null));
  const { busy, problem, save } = useSaving();
  if (link) return html`<${Shown} link=${link} title="The user is added" onClose=${onClose} />`;
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const made = await save((extra) => api.post("/webapi/users", { name: name.trim(), roles: chosen, traits: written(traits), ttl, ...extra }));
    if (!made) return;
    onMade();
    setLink(made);
  };
  return html`<${Dialog} title="Add a user" onClose=${onClose} steady=${Boolean(name)}>
    <form class="stack" onSubmit=${go}>
      <${Field} label="User name" value=${name} onInput=${setName} autofocus required autocomplete="off" autocapitalize="none" spellcheck=${false} hint="As they sign in; an e-mail address is fine." />
      <${Words} label="Roles" values=${chosen} onChange=${setChosen} suggestions=${roles} only=${roles.length > 0} hint="Their roles say what they may reach and do." />
      <${Traits} traits=${traits} onChange=${setTraits} />
      <${Select} label="The link works for" value=${ttl} onChange=${setTtl} options=${LASTING} />
      <${Problem} text=${problem} />
      <div class="form-foot">
        <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
        <${Button} kind="primary" type="submit" busy=${busy} disabled=${!name.trim() || !chosen.length}>Add the user<//>
      </div>
    </form>
  <//>`;
}

/** @param {{ user: User, onDone: () => void, onClose: () => void }} props */
export function EditUser({ user, onDone, onClose }) {
  const roles = useRoles();
  const [chosen, setChosen] = useState(user.roles);
  const [traits, setTraits] = useState(user.traits);
  const { busy, problem, save } = useSaving();
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const body = { roles: chosen, traits: written(traits), revision: user.revision };
    const saved = await save((extra) => api.put(`/webapi/users/${encodeURIComponent(user.name)}`, { ...body, ...extra }));
    if (!saved) return;
    toast(`${harmless(user.name, 80)} is changed. It counts from the next sign-in.`);
    onDone();
  };
  return html`<${Dialog} title=${harmless(user.name, 80)} onClose=${onClose} steady>
    <form class="stack" onSubmit=${go}>
      <${Words} label="Roles" values=${chosen} onChange=${setChosen} suggestions=${roles} only=${roles.length > 0} />
      <${Traits} traits=${traits} onChange=${setTraits} />
      <${Problem} text=${problem} />
      <div class="form-foot">
        <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
        <${Button} kind="primary" type="submit" busy=${busy} disabled=${!chosen.length}>Save<//>
      </div>
    </form>
  <//>`;
}

/** @param {{ user: User, onClose: () => void }} props */
export function ResetUser({ user, onClose }) {
  const [ttl, setTtl] = useState("8h");
  const [link, setLink] = useState(/** @type {Link | null} */ (null));
  const { busy, problem, save } = useSaving();
  if (link) return html`<${Shown} link=${link} title="A new way in" onClose=${onClose} />`;
  const go = async () => {
    const made = await save((extra) => api.post(`/webapi/users/${encodeURIComponent(user.name)}/reset`, { ttl, ...extra }));
    if (made) setLink(made);
  };
  return html`<${Dialog}
    size="small"
    title=${`Reset the sign-in of ${harmless(user.name, 80)}`}
    onClose=${onClose}
    footer=${html`<${Button} onClick=${onClose} disabled=${busy}>Cancel<//><${Button} kind="primary" busy=${busy} onClick=${go}>Make a link<//>`}
  >
    <div class="stack">
      <p>Their password and second factors stop working at once. With the link they choose new ones.</p>
      <${Select} label="The link works for" value=${ttl} onChange=${setTtl} options=${LASTING} />
      <${Problem} text=${problem} />
    </div>
  <//>`;
}

/** @param {{ link: Link, title: string, onClose: () => void }} props */
function Shown({ link, title, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose} steady footer=${html`<${Button} kind="primary" onClick=${onClose}>Done<//>`}>
    <div class="stack">
      <p>Send this link to <strong>${harmless(link.user, 80)}</strong>. It works once, until ${exactTime(link.expires)}.</p>
      <${CodeBlock} text=${link.url} label="Copy the link" />
      <${Notice} tone="warn">Whoever has the link can take the account. It is not shown again.<//>
    </div>
  <//>`;
}

/**
 * Accounts on servers, and what else roles ask of a user.
 * @param {{ traits: Record<string, string[]>, onChange: (traits: Record<string, string[]>) => void }} props
 */
function Traits({ traits, onChange }) {
  const [name, setName] = useState("");
  const [open, setOpen] = useState(false);
  const others = Object.keys(traits).filter((each) => each !== "logins");
  const set = (/** @type {string} */ key, /** @type {string[]} */ values) => onChange({ ...traits, [key]: values });
  const add = (/** @type {string[]} */ words) => {
    const word = words.at(-1);
    if (word && !(word in traits)) set(word, []);
    setName("");
    setOpen(false);
  };
  return html`<${Words}
      label="Accounts on servers"
      optional
      values=${traits.logins ?? []}
      onChange=${(/** @type {string[]} */ values) => set("logins", values)}
      hint="Names that they may log in with, such as their own or root. Roles refer to them as {{internal.logins}}."
    />
    ${others.map((key) => html`<${Words} key=${key} label=${harmless(key, 60)} optional values=${traits[key] ?? []} onChange=${(/** @type {string[]} */ values) => set(key, values)} />`)}
    ${open
      ? html`<${Words} label="Name of the trait" values=${name ? [name] : []} onChange=${add} suggestions=${TRAITS.filter((each) => !(each in traits))} hint="Choose one, or type another and press Enter." />`
      : html`<div><button type="button" class="link" onClick=${() => setOpen(true)}>Add another trait</button></div>`}`;
}

/** @param {Record<string, string[]>} traits */
function written(traits) {
  return Object.fromEntries(Object.entries(traits).filter(([, values]) => values.length));
}
