/**
 * What the signed-in person can reach: servers and databases, searched, filtered and cut into pages by the cluster.
 */
import { api } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { useSettled } from "../load.js";
import { navigate } from "../router.js";
import { may, session } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Button, CodeBlock, EmptyState, FilterChips, Icon, Label, Notice, Page, Pager, SearchBox, Segments, Table } from "../ui/index.js";
import { useAddressed } from "./paging.js";
import { Connect } from "./resources/connect.js";
import { KINDS, aboutOf, iconOf, nameOf, queryOf, read, typeOf, written } from "./resources/kinds.js";
import { rememberHost } from "./resources/names.js";

/** @typedef {import("./resources/kinds.js").Item} Item */

const SIZE = 20;
const MOST_LABELS = 4;

await stylesheet("resources");

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Resources({ params: { site }, query }) {
  const kind = query.get("kind") ?? "all";
  const { path, sort: usual, search: words } = KINDS[kind] ?? /** @type {any} */ (KINDS.all);
  const sort = query.get("sort") ?? usual;
  const labels = read(query.getAll("label"));
  const search = query.get("search") ?? "";
  const [typed, setTyped] = useState(search);
  const settled = useSettled(typed);
  useEffect(() => setTyped(search), [search]);
  useEffect(() => {
    if (settled === typed && settled !== search) change({ search: settled }, true);
  }, [settled]);

  const paged = useAddressed(
    (startKey, signal) =>
      api.get(`/webapi/sites/${encodeURIComponent(site)}/${path}`, {
        query: { limit: SIZE, startKey, search, sort, query: queryOf(labels) },
        signal,
      }),
    query,
    [site, path, search, sort, queryOf(labels)],
  );
  for (const item of paged.rows ?? []) if (item.kind === "node") rememberHost(item.id, item.hostname);

  /** @param {Record<string, string | string[]>} changes @param {boolean} [replace] */
  const change = (changes, replace = false) => {
    const changed = new URLSearchParams(location.search);
    for (const key of ["at", "page", ...Object.keys(changes)]) changed.delete(key);
    for (const [key, value] of Object.entries(changes)) {
      for (const each of [value].flat()) if (each) changed.append(key, each);
    }
    navigate(changed.size ? `${location.pathname}?${changed}` : location.pathname, { replace, keepScroll: true });
  };
  const filter = (/** @type {import("./resources/kinds.js").LabelOf} */ label) => {
    const all = labels.map(written);
    if (!all.includes(written(label))) change({ label: [...all, written(label)] });
  };
  const narrowed = Boolean(search || labels.length);
  const clear = () => {
    setTyped("");
    change({ search: "", label: [] });
  };

  return html`<${Page}
    title="Resources"
    lead="Everything your roles let you reach."
    actions=${may("token", "create") && html`<${Button} icon="plus" href=${addServer(site)}>Add a server<//>`}
  >
    <div class="toolbar">
      <${SearchBox} label=${words} value=${typed} onInput=${setTyped} busy=${paged.loading && Boolean(paged.rows) && narrowed} />
      <${Segments}
        label="Kind"
        value=${kind}
        onChange=${(/** @type {string} */ chosen) => change({ kind: chosen === "all" ? "" : chosen, sort: "" })}
        options=${Object.entries(KINDS).map(([value, { label, icon }]) => ({ value, label, icon: icon || undefined }))}
      />
    </div>
    ${labels.length > 0 &&
    html`<div class="toolbar">
      <${FilterChips}
        filters=${labels.map((label) => ({ key: written(label), label: `${harmless(label.name, 64)}: ${harmless(label.value, 64)}` }))}
        onRemove=${(/** @type {string} */ key) => change({ label: labels.map(written).filter((each) => each !== key) })}
        onClear=${() => change({ label: [] })}
      />
    </div>`}
    ${paged.error && paged.rows && html`<div class="toolbar"><${Notice} tone="bad">${paged.error.message}<//></div>`}
    <${Table}
      label="Resources"
      columns=${columns(site, filter)}
      rows=${paged.rows}
      rowKey=${(/** @type {Item} */ item) => `${item.kind}/${item.kind === "node" ? item.id : item.name}`}
      loading=${paged.loading}
      error=${paged.error}
      onRetry=${paged.reload}
      sort=${sort.replace("hostname:", "name:")}
      onSort=${(/** @type {string} */ wanted) => change({ sort: kind === "node" ? wanted.replace("name:", "hostname:") : wanted })}
      empty=${narrowed ? html`<${NotFound} onClear=${clear} />` : html`<${Nothing} site=${site} kind=${kind} />`}
    />
    <${Pager} paged=${paged} size=${SIZE} />
  <//>`;
}

/**
 * @param {string} site
 * @param {(label: import("./resources/kinds.js").LabelOf) => void} filter
 * @returns {import("../ui/table.js").Column<Item>[]}
 */
function columns(site, filter) {
  return [
    {
      key: "name",
      label: "Name",
      sort: true,
      width: "34%",
      cell: (item) => html`<div class="resource">
        <span class="resource-sign"><${Icon} name=${iconOf(item)} size=${18} /></span>
        <div class="resource-words">
          <div class="cell-title">${harmless(nameOf(item))}</div>
          <div class="cell-sub">${harmless(aboutOf(item))}</div>
        </div>
      </div>`,
    },
    { key: "type", label: "Kind", width: "10rem", cell: (item) => html`<span class="soft nowrap">${typeOf(item)}</span>` },
    { key: "labels", label: "Labels", cell: (item) => html`<${Labels} labels=${item.labels} filter=${filter} />` },
    { key: "actions", label: "Connect", actions: true, cell: (item) => html`<${Connect} site=${site} item=${item} />` },
  ];
}

/** @param {{ labels: import("./resources/kinds.js").LabelOf[], filter: (label: import("./resources/kinds.js").LabelOf) => void }} props */
function Labels({ labels, filter }) {
  const [all, setAll] = useState(false);
  const shown = all ? labels : labels.slice(0, MOST_LABELS);
  return html`<div class="labels">
    ${shown.map(
      (label) => html`<${Label} key=${label.name} name=${harmless(label.name, 64)} value=${harmless(label.value, 64)} onClick=${() => filter(label)} />`,
    )}
    ${labels.length > shown.length && html`<button class="link small" type="button" onClick=${() => setAll(true)}>${labels.length - shown.length} more</button>`}
    ${!labels.length && html`<span class="soft">none</span>`}
  </div>`;
}

/** @param {{ onClear: () => void }} props */
function NotFound({ onClear }) {
  return html`<${EmptyState} title="Nothing fits" action=${html`<${Button} onClick=${onClear}>Show everything<//>`}>
    No resource has all of that in its name, address or labels.
  <//>`;
}

/** @param {{ site: string, kind: string }} props */
function Nothing({ site, kind }) {
  if (!may("token", "create")) {
    return html`<${EmptyState} icon=${KINDS[kind]?.icon || "server"} title="Nothing to reach yet">
      Your roles decide what is listed here. Ask an administrator of ${harmless(site)} for access to what you need.
    <//>`;
  }
  if (kind === "database") {
    return html`<${EmptyState} icon="database" title="No databases yet">
      <p>On a host that reaches the database, with a token of the cluster:</p>
      <${CodeBlock} text=${databaseCommand()} />
    <//>`;
  }
  return html`<${EmptyState}
    icon="server"
    title="Add your first server"
    action=${html`<${Button} kind="primary" icon="plus" href=${addServer(site)}>Add a server<//>`}
  >
    A small agent on the server calls the cluster; no port has to be opened for it. You get one command to run there, and
    the server appears in this list.
  <//>`;
}

/** @param {string} site */
function addServer(site) {
  return `/web/cluster/${encodeURIComponent(site)}/tokens?add=node`;
}

function databaseCommand() {
  const proxy = String(session.get().context?.cluster?.publicURL ?? location.host);
  return `teleport db configure create --proxy=${proxy} --token=TOKEN \\\n  --name=orders --protocol=postgres --uri=localhost:5432 -o file`;
}
