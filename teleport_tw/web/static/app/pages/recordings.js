/**
 * Recordings of sessions that are over: who was where, and what was on the screen.
 */
import { api } from "../api.js";
import { html, useEffect, useMemo, useState } from "../html.js";
import { useLoad, useSettled } from "../load.js";
import { navigate, setQuery } from "../router.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, EmptyState, ErrorState, Icon, Menu, Page, Pager, SearchBox, Segments, Skeleton, Table, Timeago, duration } from "../ui/index.js";
import { FORMATS, downloadRecording } from "../player/download.js";
import { Period, periodOf } from "./audit/period.js";
import { useAddressed } from "./paging.js";

/** @typedef {Record<string, any>} Ended An event that tells of a session's end. */

const SIZE = 25;
const USUAL = "30d";
const MOST_LINES = 4;

await Promise.all([stylesheet("audit"), stylesheet("admin")]);

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Recordings({ params: { site }, query }) {
  const inside = query.get("in") === "content";
  const search = query.get("search") ?? "";
  const [typed, setTyped] = useState(search);
  const settled = useSettled(typed, 300);
  useEffect(() => setTyped(search), [search]);
  useEffect(() => {
    if (settled === typed && settled !== search) setQuery({ search: settled, at: null, page: null });
  }, [settled]);
  return html`<${Page} title="Recordings" lead="Sessions that were recorded. Play them back, search what was on the screen.">
    <div class="toolbar">
      <${SearchBox} label=${inside ? "Search what was on the screen" : "Search people, servers and accounts"} value=${typed} onInput=${setTyped} />
      <${Segments}
        label="Search in"
        value=${inside ? "content" : "facts"}
        onChange=${(/** @type {string} */ chosen) => setQuery({ in: chosen === "content" ? "content" : null, at: null, page: null })}
        options=${[
          { value: "facts", label: "Sessions" },
          { value: "content", label: "Content" },
        ]}
      />
      <${Period} period=${periodOf(query, USUAL)} usual=${USUAL} />
    </div>
    ${inside && search ? html`<${Content} site=${site} text=${search} query=${query} />` : html`<${List} site=${site} search=${inside ? "" : search} query=${query} />`}
  <//>`;
}

/** @param {{ site: string, search: string, query: URLSearchParams }} props */
function List({ site, search, query }) {
  const period = periodOf(query, USUAL);
  const paged = useAddressed(
    async (startKey, signal) => {
      const { from, to } = periodOf(query, USUAL);
      const path = `/webapi/sites/${encodeURIComponent(site)}/events/search/sessions`;
      const answer = await api.get(path, { query: { from, to, search, startKey, limit: SIZE }, signal });
      return { items: /** @type {Ended[]} */ (answer.events), startKey: answer.startKey };
    },
    query,
    [site, search, period.key],
  );
  const open = (/** @type {Ended} */ event) => navigate(playerHref(site, event.sid));
  return html`<${Table}
      label="Recordings"
      columns=${columns(site)}
      rows=${paged.rows}
      rowKey=${(/** @type {Ended} */ event) => event.uid}
      loading=${paged.loading}
      error=${paged.error}
      onRetry=${paged.reload}
      onRow=${open}
      empty=${search
        ? html`<${EmptyState} title="Nothing fits" action=${html`<${Button} onClick=${() => setQuery({ search: null })}>Show all<//>`}>Or look in another period, or in what was on the screen.<//>`
        : html`<${EmptyState} icon="history" title="No recordings in this period">Sessions appear here when they are over. Those that go on are under Active sessions.<//>`}
    />
    <${Pager} paged=${paged} size=${SIZE} />`;
}

/** @param {string} site @param {string} sid @param {Record<string, string>} [more] */
export function playerHref(site, sid, more = {}) {
  const query = new URLSearchParams(more);
  return `/web/cluster/${encodeURIComponent(site)}/session/${encodeURIComponent(sid)}${query.size ? `?${query}` : ""}`;
}

/** @type {Record<string, { label: string, icon: string }>} */
const KINDS = {
  "session.end": { label: "SSH", icon: "terminal" },
  "db.session.end": { label: "Database", icon: "database" },
  "windows.desktop.session.end": { label: "Desktop", icon: "monitor" },
};

/** @param {Ended} event */
function kindOf(event) {
  const kind = KINDS[event.event] ?? { label: event.event, icon: "terminal" };
  return event.event === "session.end" && event.interactive === false ? { ...kind, label: "Command" } : kind;
}

/** @param {Ended} event */
function whereOf(event) {
  if (event.db_service) return { title: event.db_service, sub: [event.db_user, event.db_name].filter(Boolean).join(" / ") };
  return { title: event.server_hostname ?? event.server_id ?? "", sub: `as ${event.login ?? ""}` };
}

/** @param {string} site @returns {import("../ui/table.js").Column<Ended>[]} */
function columns(site) {
  return [
    {
      key: "who",
      label: "Who",
      width: "24%",
      cell: (event) => html`<div class="recording">
        <span class="recording-sign"><${Icon} name=${kindOf(event).icon} size=${18} /></span>
        <div>
          <a class="cell-title recording-link" href=${playerHref(site, event.sid)}>${harmless(event.user, 80)}</a>
          ${Array.isArray(event.participants) && event.participants.length > 1 && html`<div class="cell-sub">with ${harmless(event.participants.filter((/** @type {string} */ each) => each !== event.user).join(", "), 120)}</div>`}
        </div>
      </div>`,
    },
    {
      key: "where",
      label: "Where",
      cell: (event) => {
        const { title, sub } = whereOf(event);
        const command = Array.isArray(event.initial_command) && event.initial_command.join(" ");
        return html`<div class="recording-where">
          <div>${harmless(title, 120)} <span class="soft small">${harmless(sub, 120)}</span></div>
          ${command && html`<div class="cell-sub cut"><code>${harmless(command, 160)}</code></div>`}
        </div>`;
      },
    },
    { key: "kind", label: "Kind", width: "7rem", cell: (event) => html`<div><${Badge}>${kindOf(event).label}<//></div>` },
    { key: "when", label: "When", width: "10rem", cell: (event) => html`<${Timeago} time=${event.session_start ?? event.time} />` },
    { key: "length", label: "Length", width: "6rem", cell: (event) => html`<span class="soft">${lengthOf(event)}</span>` },
    {
      key: "actions",
      label: "Actions",
      actions: true,
      cell: (event) => html`<span class="row">
        <${Button} size="small" icon=${event.db_service ? "file" : "play"} href=${playerHref(site, event.sid)}>
          ${event.db_service ? "Read" : "Play"}<span class="hidden"> the session of ${harmless(event.user, 80)}</span>
        <//>
        <${Menu}
          label=${`Download the session of ${harmless(event.user, 80)}`}
          size="small"
          icon="download"
          items=${FORMATS.map(({ format, label, detail }) => ({ label, detail, icon: "download", onSelect: () => downloadRecording(site, event.sid, format) }))}
        />
      </span>`,
    },
  ];
}

/** @param {Ended} event */
function lengthOf({ session_start: start, session_stop: stop }) {
  if (!start || !stop) return "";
  return duration((new Date(stop).getTime() - new Date(start).getTime()) / 1000);
}

/**
 * Recordings with a text on the screen, and the lines that hold it.
 * @param {{ site: string, text: string, query: URLSearchParams }} props
 */
function Content({ site, text, query }) {
  const period = periodOf(query, USUAL);
  const { data, error, loading, reload } = useLoad(
    (signal) => {
      const { from, to } = periodOf(query, USUAL);
      return api.get(`/webapi/sites/${encodeURIComponent(site)}/recordings/search`, { query: { text, from, to, limit: 200 }, signal });
    },
    [site, text, period.key],
  );
  const found = useMemo(() => grouped(data), [data]);
  if (error && !data) return html`<${ErrorState} error=${error} onRetry=${reload} />`;
  if (!data) return html`<div class="card card-body found"><${Skeleton} lines=${6} /></div>`;
  if (!found.length) {
    return html`<div class="table-empty"><${EmptyState} title="On no screen">“${harmless(text, 80)}” was not on the screen of a session that you may see, in this period.<//></div>`;
  }
  return html`<ul class=${loading ? "founds is-stale" : "founds"} aria-label="Recordings that hold the text">
    ${found.map(({ sid, event, hits }) => html`<${Found} key=${sid} site=${site} sid=${sid} event=${event} hits=${hits} text=${text} />`)}
  </ul>`;
}

/** @typedef {{ sid: string, ms: number, line: string }} Hit */

/** @param {{ items: Hit[], sessions: Record<string, Ended> } | null} data */
function grouped(data) {
  /** @type {Map<string, Hit[]>} */
  const by = new Map();
  for (const hit of data?.items ?? []) by.set(hit.sid, [...(by.get(hit.sid) ?? []), hit]);
  const list = [...by].map(([sid, hits]) => ({ sid, hits, event: data?.sessions[sid] }));
  return list.sort((one, other) => String(other.event?.time ?? "9").localeCompare(String(one.event?.time ?? "9")));
}

/** @param {{ site: string, sid: string, event: Ended | undefined, hits: Hit[], text: string }} props */
function Found({ site, sid, event, hits, text }) {
  const where = event ? whereOf(event) : null;
  return html`<li class="card found">
    <div class="row row-apart">
      <div class="recording">
        <span class="recording-sign"><${Icon} name=${event ? kindOf(event).icon : "terminal"} size=${18} /></span>
        <div>
          <a class="cell-title recording-link" href=${playerHref(site, sid, { find: text })}>
            ${event && where ? `${harmless(event.user, 80)} on ${harmless(where.title, 80)}` : "A session that goes on"}
          </a>
          <div class="cell-sub">${event ? html`<${Timeago} time=${event.session_start ?? event.time} /> ${lengthOf(event) && `· ${lengthOf(event)}`}` : "It has not ended yet"}</div>
        </div>
      </div>
      <span class="soft small">${hits.length} ${hits.length === 1 ? "line" : "lines"}</span>
    </div>
    <ul class="found-lines">
      ${hits.slice(0, MOST_LINES).map(
        ({ ms, line }, index) => html`<li key=${index}>
          <a class="found-line" href=${playerHref(site, sid, { find: text, at: String(ms) })}>
            <span class="transcript-time">${duration(ms / 1000)}</span><code class="cut">${harmless(line.trim(), 240)}</code>
          </a>
        </li>`,
      )}
    </ul>
  </li>`;
}
