/**
 * What most roles say, as a form. What it does not know stays as it is.
 */
import { html, useState } from "../../html.js";
import { Button, Checkbox, Field, Notice, Select } from "../../ui/index.js";
import { Words } from "../admin/words.js";

/** Kinds of resources that rules speak of. */
const KINDS = [
  "*", "user", "role", "token", "lock", "event", "session", "session_tracker", "node", "db", "app", "cluster_auth_preference",
  "cluster_networking_config", "session_recording_config", "cert_authority", "trusted_cluster", "access_request", "bot", "instance",
];
const VERBS = ["*", "list", "read", "create", "update", "delete", "use", "rotate"];

/** What the form shows; of anything else it says that it is there. */
const SHOWN = {
  allow: ["logins", "node_labels", "db_labels", "db_users", "db_names", "rules"],
  options: ["max_session_ttl", "client_idle_timeout", "require_session_mfa", "ssh_file_copy", "forward_agent", "disconnect_expired_cert"],
};

/** @param {{ role: any, named: boolean, disabled: boolean, onChange: (role: any) => void }} props */
export function RoleForm({ role, named, disabled, onChange }) {
  const { metadata = {}, spec = {} } = role;
  const { allow = {}, options = {}, deny = {} } = spec;
  const inMeta = (/** @type {any} */ changes) => onChange({ ...role, metadata: { ...metadata, ...changes } });
  const inAllow = (/** @type {any} */ changes) => onChange({ ...role, spec: { ...spec, allow: kept({ ...allow, ...changes }) } });
  const inOptions = (/** @type {any} */ changes) => onChange({ ...role, spec: { ...spec, options: kept({ ...options, ...changes }) } });
  const more = [
    ...Object.keys(allow).filter((key) => !SHOWN.allow.includes(key)).map((key) => `allow.${key}`),
    ...Object.keys(deny).map((key) => `deny.${key}`),
    ...Object.keys(options).filter((key) => !SHOWN.options.includes(key)).map((key) => `options.${key}`),
  ];
  return html`<fieldset class="stack role-form" disabled=${disabled}>
    <section class="card part">
      <div class="form-two">
        <${Field} label="Name" value=${metadata.name ?? ""} onInput=${(/** @type {string} */ name) => inMeta({ name })} disabled=${named} required autocomplete="off" autocapitalize="none" spellcheck=${false} />
        <${Field} label="Description" optional value=${metadata.description ?? ""} onInput=${(/** @type {string} */ description) => inMeta({ description })} />
      </div>
    </section>
    <section class="card part stack">
      <h2>Servers</h2>
      <${Words} label="Accounts" optional values=${texts(allow.logins)} onChange=${(/** @type {string[]} */ logins) => inAllow({ logins })} disabled=${disabled} suggestions=${["{{internal.logins}}", "root"]} hint="{{internal.logins}} stands for each user’s own." />
      <${LabelsEditor} label="Servers with these labels" labels=${allow.node_labels} onChange=${(/** @type {any} */ labels) => inAllow({ node_labels: labels })} disabled=${disabled} />
    </section>
    <section class="card part stack">
      <h2>Databases</h2>
      <${LabelsEditor} label="Databases with these labels" labels=${allow.db_labels} onChange=${(/** @type {any} */ labels) => inAllow({ db_labels: labels })} disabled=${disabled} />
      <div class="form-two">
        <${Words} label="Database users" optional values=${texts(allow.db_users)} onChange=${(/** @type {string[]} */ names) => inAllow({ db_users: names })} disabled=${disabled} suggestions=${["{{internal.db_users}}"]} />
        <${Words} label="Database names" optional values=${texts(allow.db_names)} onChange=${(/** @type {string[]} */ names) => inAllow({ db_names: names })} disabled=${disabled} suggestions=${["{{internal.db_names}}", "*"]} />
      </div>
    </section>
    <section class="card part stack">
      <h2>In the cluster</h2>
      <${Rules} rules=${Array.isArray(allow.rules) ? allow.rules : []} onChange=${(/** @type {any[]} */ rules) => inAllow({ rules })} disabled=${disabled} />
    </section>
    <section class="card part stack">
      <h2>Sessions</h2>
      <div class="form-two">
        <${Field} label="A sign-in lasts at most" value=${String(options.max_session_ttl ?? "")} onInput=${(/** @type {string} */ text) => inOptions({ max_session_ttl: text })} hint="Such as 8h or 30m." autocomplete="off" />
        <${Field} label="Idle sessions end after" optional value=${String(options.client_idle_timeout ?? "")} onInput=${(/** @type {string} */ text) => inOptions({ client_idle_timeout: text })} hint="Such as 15m." autocomplete="off" />
        <${Select}
          label="Second factor for each session"
          value=${mfaOf(options.require_session_mfa)}
          onChange=${(/** @type {string} */ text) => inOptions({ require_session_mfa: text === "yes" ? true : text })}
          options=${[
            { value: "", label: "As the cluster says" },
            { value: "yes", label: "Yes" },
            { value: "hardware_key", label: "Hardware key" },
            { value: "hardware_key_touch", label: "Hardware key, touched" },
          ]}
        />
      </div>
      <${Checkbox} label="Move files to and from servers" checked=${options.ssh_file_copy !== false} onChange=${(/** @type {boolean} */ on) => inOptions({ ssh_file_copy: on ? undefined : false })} />
      <${Checkbox} label="Forward the SSH agent" checked=${options.forward_agent === true} onChange=${(/** @type {boolean} */ on) => inOptions({ forward_agent: on || undefined })} />
      <${Checkbox} label="End sessions when the sign-in ends" checked=${options.disconnect_expired_cert === true} onChange=${(/** @type {boolean} */ on) => inOptions({ disconnect_expired_cert: on || undefined })} />
    </section>
    ${more.length > 0 && html`<${Notice}>The YAML has more, which the form leaves as it is: <span class="soft">${more.join(", ")}</span><//>`}
  </fieldset>`;
}

/** @param {any} section What was emptied goes. */
function kept(section) {
  return Object.fromEntries(Object.entries(section).filter(([, value]) => value !== undefined && value !== "" && !(Array.isArray(value) && !value.length)));
}

/** @param {unknown} value @returns {string[]} */
function texts(value) {
  return Array.isArray(value) ? value.map(String) : value ? [String(value)] : [];
}

/** @param {unknown} value */
function mfaOf(value) {
  if (value === true || value === "yes" || value === "session") return "yes";
  return typeof value === "string" && value.startsWith("hardware") ? value : "";
}

/**
 * @param {{ label: string, labels: Record<string, string | string[]> | undefined, onChange: (labels: Record<string, string[] | string>) => void, disabled: boolean }} props
 */
function LabelsEditor({ label, labels = {}, onChange, disabled }) {
  const [rows, setRows] = useState(() => Object.entries(labels).map(([name, values]) => ({ name, values: texts(values) })));
  const change = (/** @type {{ name: string, values: string[] }[]} */ next) => {
    setRows(next);
    const whole = next.filter(({ name, values }) => name.trim() && values.length);
    onChange(Object.fromEntries(whole.map(({ name, values }) => [name.trim(), values.length === 1 ? /** @type {string} */ (values[0]) : values])));
  };
  const all = rows.length === 1 && rows[0]?.name === "*" && rows[0].values[0] === "*";
  return html`<fieldset class="stack-small">
    <legend class="field-label legend">${label}</legend>
    ${rows.map(
      (row, index) => html`<div key=${index} class="pair">
        <${Field} label="Label" hideLabel placeholder="env" value=${row.name} onInput=${(/** @type {string} */ name) => change(rows.map((each, at) => (at === index ? { ...each, name } : each)))} autocomplete="off" autocapitalize="none" spellcheck=${false} />
        <${Words} label="Values" values=${row.values} onChange=${(/** @type {string[]} */ values) => change(rows.map((each, at) => (at === index ? { ...each, values } : each)))} disabled=${disabled} suggestions=${["*"]} />
        <${Button} kind="quiet" size="small" icon="trash" label=${`Remove the label ${row.name}`} onClick=${() => change(rows.filter((_each, at) => at !== index))} />
      </div>`,
    )}
    ${!rows.length && html`<p class="soft small">None: this role reaches none of them.</p>`}
    <div class="row">
      <${Button} size="small" icon="plus" onClick=${() => setRows([...rows, { name: "", values: [] }])}>Add a label<//>
      ${!all && html`<${Button} size="small" kind="quiet" onClick=${() => change([{ name: "*", values: ["*"] }])}>All of them<//>`}
    </div>
  </fieldset>`;
}

/** @param {{ rules: any[], onChange: (rules: any[]) => void, disabled: boolean }} props */
function Rules({ rules, onChange, disabled }) {
  const set = (/** @type {number} */ index, /** @type {any} */ changes) => onChange(rules.map((rule, at) => (at === index ? { ...rule, ...changes } : rule)));
  return html`<fieldset class="stack-small">
    <legend class="hidden">Rules</legend>
    ${rules.map(
      (rule, index) => html`<div key=${index} class="rule">
        <${Words} label="May" values=${texts(rule.verbs)} onChange=${(/** @type {string[]} */ verbs) => set(index, { verbs })} suggestions=${VERBS} disabled=${disabled} />
        <${Words} label="these resources" values=${texts(rule.resources)} onChange=${(/** @type {string[]} */ resources) => set(index, { resources })} suggestions=${KINDS} disabled=${disabled} />
        <div class="rule-foot">
          ${rule.where && html`<span class="soft small">where <code>${rule.where}</code></span>`}
          <${Button} kind="quiet" size="small" icon="trash" label=${`Remove rule ${index + 1}`} onClick=${() => onChange(rules.filter((_rule, at) => at !== index))} />
        </div>
      </div>`,
    )}
    ${!rules.length && html`<p class="soft small">No rights to the cluster’s own resources.</p>`}
    <div><${Button} size="small" icon="plus" onClick=${() => onChange([...rules, { resources: [], verbs: ["list", "read"] }])}>Add a rule<//></div>
  </fieldset>`;
}
