/**
 * Tokens: by what hosts join the cluster; and the way to add a server.
 */
import { api } from "../api.js";
import { html, useState } from "../html.js";
import { useLoad } from "../load.js";
import { setQuery } from "../router.js";
import { toast } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, Confirm, EmptyState, Label, Page, Pager, SearchBox, Table, Timeago } from "../ui/index.js";
import { asAdmin } from "../mfa.js";
import { SIZE, listed } from "./admin/listed.js";
import { Allowed, refused } from "./admin/saving.js";
import { AddServer } from "./tokens/add-server.js";
import { NewToken, SERVICES } from "./tokens/new-token.js";

/**
 * @typedef {object} Token
 * @property {string} handle What it is called by; empty for those who may not read its value.
 * @property {string} id Masked.
 * @property {string[]} roles
 * @property {string} method
 * @property {string} expiry
 * @property {Record<string, string>} labels
 * @property {boolean} oneUse
 */

await stylesheet("admin");

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function Tokens({ params: { site }, query }) {
  const loaded = useLoad(async (signal) => /** @type {Token[]} */ ((await api.get("/webapi/tokens", { signal })).items), []);
  const paged = listed(loaded, query, {
    words: (token) => [token.id, token.method, token.roles, ...Object.entries(token.labels).flat()],
    sorts: { id: (token) => token.id, expiry: (token) => token.expiry || "9" },
    sort: "expiry:asc",
  });
  const [revoked, setRevoked] = useState(/** @type {Token | null} */ (null));
  const adding = query.get("add");
  const close = () => {
    setQuery({ add: null });
    loaded.reload();
  };
  const create = refused("token", "create", "tokens");
  return html`<${Page}
    title="Join tokens"
    lead="A host that shows a token becomes part of the cluster. Tokens that end soon are safest."
    actions=${html`
      <${Allowed} reason=${create} icon="plus" onClick=${() => setQuery({ add: "token" })}>New token<//>
      <${Allowed} reason=${create} kind="primary" icon="server" onClick=${() => setQuery({ add: "node" })}>Add a server<//>
    `}
  >
    <div class="toolbar">
      <${SearchBox} label="Search tokens" value=${paged.search} onInput=${(/** @type {string} */ text) => setQuery({ search: text, page: null })} />
    </div>
    <${Table}
      label="Join tokens"
      columns=${columns(setRevoked)}
      rows=${paged.rows}
      rowKey=${(/** @type {Token} */ token) => token.handle || token.id}
      loading=${paged.loading}
      error=${paged.error}
      onRetry=${paged.reload}
      sort=${paged.sort}
      onSort=${(/** @type {string} */ sort) => setQuery({ sort, page: null })}
      skeletonRows=${4}
      empty=${paged.search
        ? html`<${EmptyState} title="Nothing fits" action=${html`<${Button} onClick=${() => setQuery({ search: null })}>Show all<//>`} />`
        : html`<${EmptyState} icon="token" title="No tokens">Adding a server makes one. It is used up or ends by itself.<//>`}
    />
    <${Pager} paged=${paged} size=${SIZE} what="tokens" />
    ${adding === "node" && !create && html`<${AddServer} site=${site} onClose=${close} />`}
    ${adding === "token" && !create && html`<${NewToken} onClose=${close} />`}
    ${revoked &&
    html`<${Confirm}
      title="Revoke this token?"
      confirm="Revoke"
      danger
      onConfirm=${async () => {
        await asAdmin((extra) => api.del(`/webapi/tokens/${encodeURIComponent(revoked.handle)}`, extra));
        toast("The token is revoked.");
        loaded.reload();
      }}
      onClose=${() => setRevoked(null)}
    >
      Nobody joins by <code>${harmless(revoked.id, 80)}</code> any more. Hosts that joined by it stay.
    <//>`}
  <//>`;
}

/**
 * @param {(token: Token) => void} revoke
 * @returns {import("../ui/table.js").Column<Token>[]}
 */
function columns(revoke) {
  const denied = refused("token", "remove", "tokens");
  return [
    {
      key: "id",
      label: "Token",
      sort: true,
      cell: (token) => html`<div class="cell-title mono">${harmless(token.id, 80)}</div>
        ${token.method !== "token" && html`<div class="cell-sub">${harmless(token.method, 40)}</div>`}`,
    },
    {
      key: "roles",
      label: "Lets in",
      cell: ({ roles, oneUse }) => html`<div class="badges">
        ${roles.map((role) => html`<${Badge} key=${role}>${SERVICES[role]?.one ?? harmless(role, 40)}<//>`)}
        ${oneUse && html`<${Badge} tone="accent">Once<//>`}
      </div>`,
    },
    {
      key: "labels",
      label: "Labels",
      minor: true,
      cell: ({ labels }) => html`<div class="labels">
        ${Object.entries(labels).map(([name, value]) => html`<${Label} key=${name} name=${harmless(name, 64)} value=${harmless(value, 64)} />`)}
      </div>`,
    },
    {
      key: "expiry",
      label: "Ends",
      sort: true,
      width: "10rem",
      cell: ({ expiry }) => (expiry ? html`<${Timeago} time=${expiry} />` : html`<${Badge} tone="warn">Never<//>`),
    },
    {
      key: "actions",
      label: "Actions",
      actions: true,
      cell: (token) => html`<${Allowed}
        reason=${denied || (token.handle ? "" : "Whoever may not read a token’s value cannot name it.")}
        size="small"
        kind="danger"
        onClick=${() => revoke(token)}
        aria-label=${`Revoke ${harmless(token.id, 80)}`}
      >
        Revoke
      <//>`,
    },
  ];
}
