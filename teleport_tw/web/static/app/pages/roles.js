/**
 * Roles: what their holders may reach and do.
 */
import { api } from "../api.js";
import { html, useState } from "../html.js";
import { useLoad } from "../load.js";
import { setQuery } from "../router.js";
import { may, toast } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, EmptyState, Menu, Page, Pager, SearchBox, Table } from "../ui/index.js";
import { SIZE, listed } from "./admin/listed.js";
import { Allowed, TypedConfirm, refused } from "./admin/saving.js";

/** @typedef {{ name: string, description: string, version: string, logins: string[], internal: string }} Role */

await stylesheet("admin");

/** @param {string} site @param {string} [name] */
export function editorHref(site, name = "") {
  return `/web/cluster/${encodeURIComponent(site)}/roles/edit${name ? `?name=${encodeURIComponent(name)}` : ""}`;
}

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Roles({ params: { site }, query }) {
  const loaded = useLoad(async (signal) => /** @type {Role[]} */ ((await api.get("/webapi/roles", { signal })).items), []);
  const paged = listed(loaded, query, {
    words: (role) => [role.name, role.description, role.logins],
    sorts: { name: (role) => role.name },
    sort: "name:asc",
  });
  const [deleted, setDeleted] = useState(/** @type {Role | null} */ (null));
  return html`<${Page}
    title="Roles"
    lead="What their holders may reach, and what they may do in the cluster."
    actions=${html`<${Allowed} reason=${refused("role", "create", "roles")} kind="primary" icon="plus" href=${editorHref(site)}>New role<//>`}
  >
    <div class="toolbar">
      <${SearchBox} label="Search roles" value=${paged.search} onInput=${(/** @type {string} */ text) => setQuery({ search: text, page: null })} />
    </div>
    <${Table}
      label="Roles"
      columns=${columns(site, setDeleted)}
      rows=${paged.rows}
      rowKey=${(/** @type {Role} */ role) => role.name}
      loading=${paged.loading}
      error=${paged.error}
      onRetry=${paged.reload}
      sort=${paged.sort}
      onSort=${(/** @type {string} */ sort) => setQuery({ sort, page: null })}
      empty=${paged.search
        ? html`<${EmptyState} title="Nothing fits" action=${html`<${Button} onClick=${() => setQuery({ search: null })}>Show all<//>`} />`
        : html`<${EmptyState} icon="role" title="No roles">Make one, and give it to users.<//>`}
    />
    <${Pager} paged=${paged} size=${SIZE} what="roles" />
    ${deleted &&
    html`<${TypedConfirm}
      title=${`Delete ${harmless(deleted.name, 80)}?`}
      name=${deleted.name}
      confirm="Delete the role"
      onConfirm=${(/** @type {import("./admin/saving.js").Extra} */ extra) => api.del(`/webapi/roles/${encodeURIComponent(deleted.name)}`, extra)}
      onDone=${() => {
        toast(`${harmless(deleted.name, 80)} is deleted.`);
        setDeleted(null);
        loaded.reload();
      }}
      onClose=${() => setDeleted(null)}
    >
      Whoever has this role loses what it allows. A role that users still have cannot be deleted.
    <//>`}
  <//>`;
}

/**
 * @param {string} site
 * @param {(role: Role) => void} remove
 * @returns {import("../ui/table.js").Column<Role>[]}
 */
function columns(site, remove) {
  const edit = refused("role", "edit", "roles");
  return [
    {
      key: "name",
      label: "Name",
      sort: true,
      width: "38%",
      cell: (role) => html`<div>
        <div class="row"><a class="cell-title role-link" href=${editorHref(site, role.name)}>${harmless(role.name, 120)}</a>${role.internal && html`<${Badge}>Preset<//>`}</div>
        ${role.description && html`<div class="cell-sub">${harmless(role.description, 200)}</div>`}
      </div>`,
    },
    {
      key: "logins",
      label: "Accounts",
      cell: ({ logins }) => logins.length ? html`<span class="soft mono small">${harmless(logins.join(", "), 160)}</span>` : html`<span class="soft small">None</span>`,
    },
    { key: "version", label: "Version", width: "6rem", minor: true, cell: ({ version }) => html`<span class="soft">${harmless(version, 8)}</span>` },
    {
      key: "actions",
      label: "Actions",
      actions: true,
      cell: (role) => html`<${Menu}
        label=${`What to do with ${harmless(role.name, 80)}`}
        size="small"
        items=${[
          { label: edit ? "Look at it" : "Edit", icon: edit ? "eye" : "edit", href: editorHref(site, role.name) },
          ...(may("role", "create") ? [{ label: "Copy to a new role", icon: "copy", href: `${editorHref(site)}?from=${encodeURIComponent(role.name)}` }] : []),
          ...(may("lock", "create")
            ? [{ label: "Lock", icon: "lock", href: `/web/cluster/${encodeURIComponent(site)}/locks?new=role&value=${encodeURIComponent(role.name)}` }]
            : []),
          "line",
          {
            label: "Delete",
            icon: "trash",
            danger: true,
            disabled: !may("role", "remove") || Boolean(role.internal),
            detail: role.internal ? "The system’s own; it would come back." : refused("role", "remove", "roles"),
            onSelect: () => remove(role),
          },
        ]}
      />`,
    },
  ];
}
