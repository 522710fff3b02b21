/**
 * Where the next terminal leads: the same server again, or another one found by its name.
 */
import { api } from "../api.js";
import { html, useState } from "../html.js";
import { useLoad, useSettled } from "../load.js";
import { harmless } from "../text.js";
import { Button, Dialog, ErrorState, Icon, SearchBox, Skeleton } from "../ui/index.js";
import { rememberHost } from "../pages/resources/names.js";
import { freshHref } from "./tabs.js";

const SHOWN = 8;

/**
 * @param {{ site: string, tab: import("./tabs.js").Tab | null, onClose: () => void }} props
 */
export function Picker({ site, tab, onClose }) {
  const [search, setSearch] = useState("");
  const settled = useSettled(search);
  const found = useLoad(
    (signal) =>
      api.get(`/webapi/sites/${encodeURIComponent(site)}/nodes`, {
        query: { limit: SHOWN, search: settled, sort: "hostname:asc" },
        signal,
      }),
    [site, settled],
  );
  /** @type {import("../pages/resources/kinds.js").Node[] | undefined} */
  const nodes = found.data?.items;
  return html`<${Dialog} title="Open a terminal" onClose=${onClose}>
    <div class="stack">
      ${tab?.target.server &&
      html`<${Button} icon="plus" href=${freshHref(tab.target)} onClick=${onClose}>Another one on ${tab.name}<//>`}
      <${SearchBox} autofocus label="Search servers" value=${search} onInput=${setSearch} busy=${found.loading} />
      ${found.error && !nodes
        ? html`<${ErrorState} error=${found.error} onRetry=${found.reload} />`
        : nodes
          ? html`<ul class="picker">
              ${nodes.map((node) => html`<${Choice} key=${node.id} site=${site} node=${node} onClose=${onClose} />`)}
              ${!nodes.length && html`<li class="soft">No server has that in its name or labels.</li>`}
            </ul>`
          : html`<${Skeleton} lines=${4} />`}
    </div>
  <//>`;
}

/** @param {{ site: string, node: import("../pages/resources/kinds.js").Node, onClose: () => void }} props */
function Choice({ site, node, onClose }) {
  rememberHost(node.id, node.hostname);
  return html`<li class="picker-line">
    <${Icon} name="server" size=${18} />
    <span class="grow cut">${harmless(node.hostname)}</span>
    <span class="row">
      ${node.sshLogins.slice(0, 4).map(
        (login) => html`<${Button}
          key=${login}
          size="small"
          href=${freshHref({ site, server: node.id, login })}
          onClick=${onClose}
          aria-label=${`Open a terminal on ${harmless(node.hostname)} as ${harmless(login)}`}
        >${harmless(login, 32)}<//>`,
      )}
      ${!node.sshLogins.length && html`<span class="soft">no account for you</span>`}
    </span>
  </li>`;
}
