/**
 * Sessions that run now: who is where, and the ways in.
 */
import { api } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { useLoad } from "../load.js";
import { session as signIn } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, EmptyState, Icon, Menu, Page, SearchBox, Table, Timeago } from "../ui/index.js";
import { MODES } from "../terminal/people.js";

/**
 * @typedef {object} Running
 * @property {string} id
 * @property {string} kind
 * @property {string} login
 * @property {string} server_id
 * @property {string} hostname
 * @property {string} created
 * @property {{ user: string, mode: string }[]} participants The first is whose session it is.
 * @property {string} state pending or running
 * @property {boolean} moderated
 * @property {string[]} modes In which one may join.
 * @property {string} [reason]
 * @property {string[]} [invited]
 */

const AGAIN_MS = 5000;

await stylesheet("sessions");

/** @param {{ params: { site: string } }} props */
export default function Sessions({ params: { site } }) {
  const [search, setSearch] = useState("");
  const loaded = useLoad((signal) => api.get(`/webapi/sites/${encodeURIComponent(site)}/sessions`, { signal }), [site]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || loaded.reload(), AGAIN_MS);
    return () => clearInterval(timer);
  }, [loaded.reload]);
  /** @type {Running[] | null} */
  const all = loaded.data?.sessions ?? null;
  const rows = all && all.filter((each) => has(each, search)).sort((one, other) => other.created.localeCompare(one.created));
  return html`<${Page} title="Active sessions" lead="Who works where right now. Join to help, or to watch.">
    <div class="toolbar"><${SearchBox} label="Search people, servers and accounts" value=${search} onInput=${setSearch} /></div>
    <${Table}
      label="Active sessions"
      columns=${columns(site)}
      rows=${rows}
      rowKey=${(/** @type {Running} */ each) => each.id}
      loading=${loaded.loading && !all}
      error=${loaded.error}
      onRetry=${loaded.reload}
      skeletonRows=${4}
      empty=${search
        ? html`<${EmptyState} title="Nothing fits" action=${html`<${Button} onClick=${() => setSearch("")}>Show all<//>`} />`
        : html`<${EmptyState} icon="users" title="Nobody is at work">
            Sessions appear here as soon as somebody opens one, and you may see it.
          <//>`}
    />
  <//>`;
}

/** @param {Running} session @param {string} search */
function has({ login, hostname, participants, reason }, search) {
  const text = [login, hostname, reason, ...participants.map(({ user }) => user)].join("\n").toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** @param {string} site @returns {import("../ui/table.js").Column<Running>[]} */
function columns(site) {
  const me = signIn.get().context?.userName;
  return [
    {
      key: "where",
      label: "Where",
      cell: ({ login, hostname, state, moderated, reason }) => html`<div class="session-where">
        <span class="resource-sign"><${Icon} name="terminal" size=${18} /></span>
        <div>
          <div class="cell-title">${harmless(`${login}@${hostname}`, 160)}</div>
          <div class="row">
            ${state === "pending" && html`<${Badge} tone="warn" dot>Waits for others to join<//>`}
            ${moderated && html`<${Badge} tone="accent">Moderated<//>`}
          </div>
          ${reason && html`<div class="cell-sub">${harmless(reason)}</div>`}
        </div>
      </div>`,
    },
    {
      key: "who",
      label: "Who",
      cell: ({ participants, invited = [] }) => html`<ul class="session-people">
        ${participants.map(
          ({ user, mode }, index) => html`<li key=${`${user} ${index}`}>
            <span>${harmless(user, 80)}${user === me && html` <span class="soft">(you)</span>`}</span>
            ${index > 0 && html`<span class="soft small">${mode}</span>`}
          </li>`,
        )}
        ${invited.length > 0 && html`<li class="soft small">invited: ${invited.map((name) => harmless(name, 80)).join(", ")}</li>`}
      </ul>`,
    },
    { key: "created", label: "Since", width: "10rem", cell: ({ created }) => html`<${Timeago} time=${created} />` },
    { key: "actions", label: "Join", actions: true, cell: (session) => html`<${Join} site=${site} session=${session} />` },
  ];
}

/** @param {{ site: string, session: Running }} props */
function Join({ site, session: { id, modes, login, hostname } }) {
  const where = harmless(`${login}@${hostname}`, 160);
  const allowed = Object.entries(MODES).filter(([mode]) => modes.includes(mode));
  if (!allowed.length) return html`<span class="soft small">You may not join</span>`;
  const href = (/** @type {string} */ mode) => `/web/cluster/${encodeURIComponent(site)}/console/session/${encodeURIComponent(id)}?mode=${mode}`;
  return html`<${Menu}
    label=${`Join ${where}`}
    kind="plain"
    size="small"
    caret
    items=${allowed.map(([mode, { label, about, icon }]) => ({ label, detail: about, icon, href: href(mode) }))}
  >
    Join<span class="hidden"> ${where}</span>
  <//>`;
}
