/**
 * Locks: who or what is shut out at once.
 */
import { api } from "../api.js";
import { html, useState } from "../html.js";
import { useLoad } from "../load.js";
import { asAdmin } from "../mfa.js";
import { setQuery } from "../router.js";
import { toast } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, Confirm, EmptyState, Page, Pager, SearchBox, Table, Timeago } from "../ui/index.js";
import { SIZE, listed } from "./admin/listed.js";
import { Allowed, refused } from "./admin/saving.js";
import { NewLock, TARGETS } from "./locks/new-lock.js";

/**
 * @typedef {object} Lock
 * @property {string} name
 * @property {Record<string, string>} targets All of which must fit.
 * @property {string} message
 * @property {string} createdAt
 * @property {string} createdBy
 * @property {string} expires
 */

await stylesheet("admin");

/** What one of the cluster's own hosts is called: the lock was put by `tctl` there. */
const HOST = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\./;

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Locks({ params: { site }, query }) {
  const path = `/webapi/sites/${encodeURIComponent(site)}/locks`;
  const loaded = useLoad(async (signal) => /** @type {Lock[]} */ ((await api.get(path, { signal })).items), [path]);
  const paged = listed(loaded, query, {
    words: (lock) => [lock.message, lock.createdBy, ...Object.entries(lock.targets).flat()],
    sorts: { created: (lock) => lock.createdAt, expires: (lock) => lock.expires || "9" },
    sort: "created:desc",
  });
  const [lifted, setLifted] = useState(/** @type {Lock | null} */ (null));
  const adding = query.get("new");
  const create = refused("lock", "create", "locks");
  const close = () => setQuery({ new: null, value: null });
  return html`<${Page}
    title="Locks"
    lead="Whoever is locked is out at once: running sessions end, and nothing new begins."
    actions=${html`<${Allowed} reason=${create} kind="primary" icon="lock" onClick=${() => setQuery({ new: "user" })}>New lock<//>`}
  >
    <div class="toolbar">
      <${SearchBox} label="Search locks" value=${paged.search} onInput=${(/** @type {string} */ text) => setQuery({ search: text, page: null })} />
    </div>
    <${Table}
      label="Locks"
      columns=${columns(setLifted)}
      rows=${paged.rows}
      rowKey=${(/** @type {Lock} */ lock) => lock.name}
      loading=${paged.loading}
      error=${paged.error}
      onRetry=${paged.reload}
      sort=${paged.sort}
      onSort=${(/** @type {string} */ sort) => setQuery({ sort, page: null })}
      skeletonRows=${4}
      empty=${paged.search
        ? html`<${EmptyState} title="Nothing fits" action=${html`<${Button} onClick=${() => setQuery({ search: null })}>Show all<//>`} />`
        : html`<${EmptyState} icon="lock" title="Nothing is locked">
            Lock an account, a device or a server when it may be in the wrong hands. A lock can be lifted at any time.
          <//>`}
    />
    <${Pager} paged=${paged} size=${SIZE} what="locks" />
    ${adding &&
    !create &&
    html`<${NewLock}
      site=${site}
      kind=${adding}
      value=${query.get("value") ?? ""}
      onDone=${() => {
        loaded.reload();
        close();
      }}
      onClose=${close}
    />`}
    ${lifted &&
    html`<${Confirm}
      title="Lift this lock?"
      confirm="Lift the lock"
      onConfirm=${async () => {
        await asAdmin((extra) => api.del(`${path}/${encodeURIComponent(lifted.name)}`, extra));
        toast("The lock is lifted.");
        loaded.reload();
      }}
      onClose=${() => setLifted(null)}
    >
      ${described(lifted)} may be used again at once.
    <//>`}
  <//>`;
}

/** @param {Lock} lock */
function described({ targets }) {
  const said = Object.entries(targets).map(([kind, value]) => `${TARGETS[kind]?.label ?? kind} ${harmless(value, 80)}`);
  return said.join(" with ");
}

/**
 * @param {(lock: Lock) => void} lift
 * @returns {import("../ui/table.js").Column<Lock>[]}
 */
function columns(lift) {
  const denied = refused("lock", "remove", "locks");
  return [
    {
      key: "target",
      label: "Locked",
      width: "30%",
      cell: ({ targets }) => html`<div class="lock-targets">
        ${Object.entries(targets).map(
          ([kind, value]) => html`<div key=${kind}><span class="soft small">${TARGETS[kind]?.label ?? kind}</span> <span class="cell-title">${harmless(value, 120)}</span></div>`,
        )}
      </div>`,
    },
    { key: "message", label: "Why", cell: ({ message }) => (message ? harmless(message, 300) : html`<span class="soft">no reason given</span>`) },
    {
      key: "created",
      label: "Since",
      sort: true,
      width: "11rem",
      cell: ({ createdAt, createdBy }) => html`<${Timeago} time=${createdAt} never="" />${createdBy && html`<div class="cell-sub">by ${HOST.test(createdBy) ? "the cluster" : harmless(createdBy, 60)}</div>`}`,
    },
    {
      key: "expires",
      label: "Ends",
      sort: true,
      width: "9rem",
      cell: ({ expires }) => (expires ? html`<${Timeago} time=${expires} />` : html`<${Badge}>When lifted<//>`),
    },
    {
      key: "actions",
      label: "Actions",
      actions: true,
      cell: (lock) => html`<${Allowed} reason=${denied} size="small" onClick=${() => lift(lock)} aria-label=${`Lift the lock on ${described(lock)}`}>Lift<//>`,
    },
  ];
}
