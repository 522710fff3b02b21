/**
 * The audit log: what happened in the cluster, filtered, read, followed and taken along.
 */
import { api } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { useSettled } from "../load.js";
import { setQuery } from "../router.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, EmptyState, FilterChips, Icon, Menu, Page, Pager, SearchBox, Table, Timeago } from "../ui/index.js";
import { Words } from "./admin/words.js";
import { Detail } from "./audit/detail.js";
import { exportEvents } from "./audit/export.js";
import { Period, periodOf } from "./audit/period.js";
import { useTail } from "./audit/tail.js";
import { GROUPS, NAMES, failed, iconOf, worded } from "./audit/words.js";
import { useAddressed } from "./paging.js";

/** @typedef {import("./audit/words.js").Event} Event */

const SIZE = 50;
const USUAL = "24h";

await Promise.all([stylesheet("audit"), stylesheet("admin")]);

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Audit({ params: { site }, query }) {
  const search = query.get("search") ?? "";
  const user = query.get("user") ?? "";
  const types = (query.get("types") ?? "").split(";").filter(Boolean);
  const live = query.get("live") === "yes";
  const period = periodOf(query, USUAL);
  const [typed, setTyped] = useState(search);
  const settled = useSettled(typed, 300);
  useEffect(() => setTyped(search), [search]);
  /** @param {Record<string, string | null>} changes */
  const change = (changes) => setQuery({ at: null, page: null, ...changes });
  useEffect(() => {
    if (settled === typed && settled !== search) change({ search: settled });
  }, [settled]);

  const include = types.flatMap((type) => GROUPS[type]?.names ?? [type]).join(";");
  const wanted = { include, search, user };
  const paged = useAddressed(
    async (startKey, signal) => {
      const { from, to } = periodOf(query, USUAL);
      const answer = await api.get(`/webapi/sites/${encodeURIComponent(site)}/events/search`, { query: { ...wanted, from, to, startKey, limit: SIZE }, signal });
      return { items: /** @type {Event[]} */ (answer.events), startKey: answer.startKey };
    },
    query,
    [site, include, search, user, period.key],
  );
  const fresh = useTail(live, site, wanted, paged.reload);
  const known = new Set(fresh.map(({ uid }) => uid));
  const rows = paged.rows && (live ? [...fresh, ...paged.rows.filter(({ uid }) => !known.has(uid))] : paged.rows);
  const [open, setOpen] = useState(/** @type {Event | null} */ (null));
  const filters = [
    ...types.map((type) => ({ key: `type ${type}`, label: GROUPS[type]?.label ?? harmless(type, 60) })),
    ...(user ? [{ key: "user", label: `User: ${harmless(user, 60)}` }] : []),
  ];
  const download = (/** @type {"csv" | "json"} */ format) => {
    const { from, to } = periodOf(query, USUAL);
    exportEvents(site, format, { ...wanted, from, to });
  };
  const narrowed = Boolean(search || filters.length);
  const clear = () => change({ search: null, types: null, user: null });

  return html`<${Page}
    title="Audit log"
    lead="Everything that happened in the cluster, and who did it."
    actions=${html`
      <${Button} icon=${live ? "pause" : "play"} aria-pressed=${live ? "true" : "false"} onClick=${() => change({ live: live ? null : "yes" })}>
        ${live ? "Stop following" : "Follow live"}
      <//>
      <${Menu}
        label="Export"
        kind="plain"
        caret
        items=${[
          { label: "CSV", detail: "for a spreadsheet", icon: "download", onSelect: () => download("csv") },
          { label: "JSON", detail: "one event a line", icon: "download", onSelect: () => download("json") },
        ]}
      >Export<//>
    `}
  >
    <div class="toolbar">
      <${SearchBox} label="Search in events" value=${typed} onInput=${setTyped} busy=${paged.loading && Boolean(paged.rows)} />
      <${Period} period=${period} usual=${USUAL} />
      <${Filters} types=${types} user=${user} onChange=${change} />
    </div>
    ${filters.length > 0 &&
    html`<div class="toolbar">
      <${FilterChips}
        filters=${filters}
        onRemove=${(/** @type {string} */ key) => change(key === "user" ? { user: null } : { types: types.filter((type) => `type ${type}` !== key).join(";") })}
        onClear=${() => change({ types: null, user: null })}
      />
    </div>`}
    ${live && html`<p class="live-line" role="status"><${Badge} tone="good" dot>Live<//> <span class="soft">New events appear on top.${fresh.length > 0 && ` ${fresh.length} since you began.`}</span></p>`}
    <div class=${open ? "events has-detail" : "events"}>
      <div class="events-list">
        <${Table}
          label="Events"
          columns=${open ? columns(setOpen).filter(({ key }) => key === "what" || key === "time") : columns(setOpen)}
          rows=${rows}
          rowKey=${(/** @type {Event} */ event) => String(event.uid)}
          chosen=${open?.uid}
          onRow=${(/** @type {Event} */ event) => setOpen(event.uid === open?.uid ? null : event)}
          loading=${paged.loading}
          error=${paged.error}
          onRetry=${paged.reload}
          empty=${html`<${EmptyState} icon="audit" title=${narrowed ? "Nothing fits" : "Nothing happened in this period"} action=${narrowed && html`<${Button} onClick=${clear}>Drop the filters<//>`}>
            ${narrowed ? "No event of this period has all of that." : "Choose a longer one, or follow live."}
          <//>`}
        />
        <${Pager} paged=${paged} size=${SIZE} what="events" />
      </div>
      ${open && html`<${Detail} key=${open.uid} event=${open} site=${site} onClose=${() => setOpen(null)} onUser=${(/** @type {string} */ name) => change({ user: name })} />`}
    </div>
  <//>`;
}

/** A long name goes on in the next line after one of its words. @param {string} name */
function broken(name) {
  return name.split(/(?<=[._])/).map((part) => html`${part}<wbr />`);
}

/** @param {(event: Event) => void} open @returns {import("../ui/table.js").Column<Event>[]} */
function columns(open) {
  return [
    {
      key: "what",
      label: "What",
      cell: (event) => html`<div class="recording">
        <span class=${failed(event) ? "recording-sign is-bad" : "recording-sign"}><${Icon} name=${iconOf(event)} size=${18} /></span>
        <div><button type="button" class="event-open" onClick=${() => open(event)}>${worded(event)}</button></div>
      </div>`,
    },
    { key: "event", label: "Event", width: "13rem", cell: (event) => html`<span class="soft small mono">${broken(harmless(event.event, 60))}</span>` },
    { key: "user", label: "User", width: "9rem", minor: true, cell: (event) => html`<span class="soft">${event.user_kind === 3 ? "cluster" : harmless(event.user ?? "", 60)}</span>` },
    { key: "time", label: "When", width: "9rem", cell: (event) => html`<${Timeago} time=${event.time} />` },
  ];
}

/** @param {{ types: string[], user: string, onChange: (changes: Record<string, string | null>) => void }} props */
function Filters({ types, user, onChange }) {
  const [open, setOpen] = useState(false);
  return html`<${Button} icon="filter" aria-expanded=${open ? "true" : "false"} onClick=${() => setOpen(!open)}>Filter<//>
    ${open &&
    html`<div class="event-filters card">
      <fieldset>
        <legend class="field-label">Kinds of events</legend>
        <div class="badges">
          ${Object.entries(GROUPS).map(([key, { label }]) => {
            const on = types.includes(key);
            return html`<${Button}
              key=${key}
              size="small"
              icon=${on ? "check" : undefined}
              aria-pressed=${on ? "true" : "false"}
              onClick=${() => onChange({ types: (on ? types.filter((type) => type !== key) : [...types, key]).join(";") })}
            >${label}<//>`;
          })}
        </div>
      </fieldset>
      <${Words}
        label="Names of events"
        optional
        values=${types.filter((type) => !(type in GROUPS))}
        suggestions=${NAMES}
        onChange=${(/** @type {string[]} */ names) => onChange({ types: [...types.filter((type) => type in GROUPS), ...names].join(";") })}
      />
      <${Words} label="User" optional values=${user ? [user] : []} onChange=${(/** @type {string[]} */ names) => onChange({ user: names.at(-1) ?? null })} />
    </div>`}`;
}
