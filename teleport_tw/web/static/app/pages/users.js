/**
 * Users: who may sign in, with which roles.
 */
import { api } from "../api.js";
import { html, useState } from "../html.js";
import { useLoad } from "../load.js";
import { setQuery } from "../router.js";
import { may, session, toast } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, EmptyState, Menu, Page, Pager, SearchBox, Table } from "../ui/index.js";
import { SIZE, listed } from "./admin/listed.js";
import { Allowed, TypedConfirm, refused } from "./admin/saving.js";
import { EditUser, NewUser, ResetUser } from "./users/dialogs.js";

/**
 * @typedef {object} User
 * @property {string} name
 * @property {string[]} roles
 * @property {Record<string, string[]>} traits
 * @property {"local" | "sso"} authType
 * @property {boolean} isLocked
 * @property {string} lockMessage
 * @property {string} created
 * @property {string} expires
 * @property {string} revision
 */

const MOST_ROLES = 4;

await stylesheet("admin");

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Users({ params: { site }, query }) {
  const loaded = useLoad(async (signal) => /** @type {User[]} */ ((await api.get("/webapi/users", { signal })).items), []);
  const paged = listed(loaded, query, {
    words: (user) => [user.name, user.roles, ...Object.values(user.traits)],
    sorts: { name: (user) => user.name },
    sort: "name:asc",
  });
  const [doing, setDoing] = useState(/** @type {{ what: "new" | "edit" | "reset" | "delete", user?: User } | null} */ (null));
  const close = () => setDoing(null);
  const done = () => {
    loaded.reload();
    close();
  };
  const create = refused("user", "create", "users");
  const user = doing?.user;
  return html`<${Page}
    title="Users"
    lead="People who may sign in. Their roles say what they may do."
    actions=${html`<${Allowed} reason=${create} kind="primary" icon="plus" onClick=${() => setDoing({ what: "new" })}>Add a user<//>`}
  >
    <div class="toolbar">
      <${SearchBox} label="Search names, roles and traits" value=${paged.search} onInput=${(/** @type {string} */ text) => setQuery({ search: text, page: null })} />
    </div>
    <${Table}
      label="Users"
      columns=${columns(site, (what, who) => setDoing({ what, user: who }))}
      rows=${paged.rows}
      rowKey=${(/** @type {User} */ each) => each.name}
      loading=${paged.loading}
      error=${paged.error}
      onRetry=${paged.reload}
      sort=${paged.sort}
      onSort=${(/** @type {string} */ sort) => setQuery({ sort, page: null })}
      empty=${paged.search
        ? html`<${EmptyState} title="Nobody fits" action=${html`<${Button} onClick=${() => setQuery({ search: null })}>Show all<//>`} />`
        : html`<${EmptyState} icon="users" title="No users yet">Add the first one: they get a link to set up their account.<//>`}
    />
    <${Pager} paged=${paged} size=${SIZE} what="users" />
    ${doing?.what === "new" && html`<${NewUser} onMade=${loaded.reload} onClose=${close} />`}
    ${doing?.what === "edit" && user && html`<${EditUser} user=${user} onDone=${done} onClose=${close} />`}
    ${doing?.what === "reset" && user && html`<${ResetUser} user=${user} onClose=${close} />`}
    ${doing?.what === "delete" &&
    user &&
    html`<${TypedConfirm}
      title=${`Delete ${harmless(user.name, 80)}?`}
      name=${user.name}
      confirm="Delete the user"
      onConfirm=${(/** @type {import("./admin/saving.js").Extra} */ extra) => api.del(`/webapi/users/${encodeURIComponent(user.name)}`, extra)}
      onDone=${() => {
        toast(`${harmless(user.name, 80)} is deleted.`);
        done();
      }}
      onClose=${close}
    >
      They can no longer sign in, and their second factors are gone with them. What they did stays in the audit log.
    <//>`}
  <//>`;
}

/**
 * @param {string} site
 * @param {(what: "edit" | "reset" | "delete", user: User) => void} act
 * @returns {import("../ui/table.js").Column<User>[]}
 */
function columns(site, act) {
  const me = session.get().context?.userName;
  return [
    {
      key: "name",
      label: "Name",
      sort: true,
      width: "32%",
      cell: (user) => html`<div class="person">
        <span class="avatar" aria-hidden="true">${harmless(user.name).slice(0, 1).toUpperCase()}</span>
        <div>
          <div class="cell-title">${harmless(user.name, 120)}${user.name === me && html` <span class="soft">(you)</span>`}</div>
          ${user.isLocked && html`<${Badge} tone="bad" dot title=${harmless(user.lockMessage)}>Locked<//>`}
          ${user.authType === "sso" && html`<div class="cell-sub">Single sign-on</div>`}
        </div>
      </div>`,
    },
    {
      key: "roles",
      label: "Roles",
      cell: ({ roles }) => html`<div class="badges">
        ${roles.slice(0, MOST_ROLES).map((role) => html`<${Badge} key=${role}>${harmless(role, 40)}<//>`)}
        ${roles.length > MOST_ROLES && html`<span class="soft small" title=${roles.slice(MOST_ROLES).join(", ")}>${roles.length - MOST_ROLES} more</span>`}
      </div>`,
    },
    {
      key: "logins",
      label: "Accounts",
      cell: ({ traits }) => html`<span class="soft">${traits.logins?.length ? harmless(traits.logins.join(", "), 120) : "none"}</span>`,
    },
    {
      key: "actions",
      label: "Actions",
      actions: true,
      cell: (user) => html`<${Menu}
        label=${`What to do with ${harmless(user.name, 80)}`}
        size="small"
        items=${[
          { label: "Edit", icon: "edit", disabled: !may("user", "edit"), detail: refused("user", "edit", "users"), onSelect: () => act("edit", user) },
          {
            label: "Reset sign-in",
            icon: "refresh",
            disabled: !may("user", "edit") || user.authType === "sso",
            detail: refused("user", "edit", "users"),
            onSelect: () => act("reset", user),
          },
          ...(may("lock", "create")
            ? [{ label: "Lock", icon: "lock", href: `/web/cluster/${encodeURIComponent(site)}/locks?new=user&value=${encodeURIComponent(user.name)}` }]
            : []),
          "line",
          {
            label: "Delete",
            icon: "trash",
            danger: true,
            disabled: !may("user", "remove") || user.name === me,
            detail: user.name === me ? "That is you." : refused("user", "remove", "users"),
            onSelect: () => act("delete", user),
          },
        ]}
      />`,
    },
  ];
}
