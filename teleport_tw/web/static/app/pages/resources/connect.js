/**
 * The button beside a resource: a terminal on a server, as one of the accounts that are allowed; commands for a database.
 */
import { html, useState } from "../../html.js";
import { fill, navigate } from "../../router.js";
import { harmless } from "../../text.js";
import { Button, Dialog, Field, Menu } from "../../ui/index.js";
import { ConnectDatabase } from "./database.js";

/** @typedef {import("./kinds.js").Item} Item */

const NODE_PATH = "/web/cluster/:site/console/node/:server/:login";

/** Any account, as a role says it. */
const ANY = "*";

/** Address of the page of a terminal. @param {string} site @param {string} server @param {string} login */
export function terminalHref(site, server, login) {
  return fill(NODE_PATH, { site, server, login });
}

/** @param {{ site: string, item: Item }} props */
export function Connect({ site, item }) {
  return item.kind === "node" ? html`<${ConnectNode} site=${site} node=${item} />` : html`<${ConnectDatabase} database=${item} />`;
}

/** @param {{ site: string, node: import("./kinds.js").Node }} props */
function ConnectNode({ site, node }) {
  const [asking, setAsking] = useState(false);
  const free = node.sshLogins.includes(ANY);
  const logins = node.sshLogins.filter((login) => login !== ANY);
  const name = harmless(node.hostname);
  const [only] = logins;
  if (!free && !only) {
    return html`<${Button} size="small" disabled title="None of your roles has an account for this server">No account<//>`;
  }
  if (!free && only && logins.length === 1) {
    return html`<${Button} size="small" href=${terminalHref(site, node.id, only)} aria-label=${`Connect to ${name} as ${harmless(only)}`}>Connect<//>`;
  }
  const items = /** @type {import("../../ui/overlays.js").MenuItem[]} */ (
    logins.map((login) => ({ label: harmless(login, 64), icon: "terminal", href: terminalHref(site, node.id, login) }))
  );
  if (free) items.push(...(items.length ? [/** @type {const} */ ("line")] : []), { label: "Another account", icon: "edit", onSelect: () => setAsking(true) });
  return html`<${Menu} label=${`Connect to ${name}`} kind="plain" size="small" caret items=${items} head=${html`<small>Open a terminal as</small>`}>
      Connect<span class="hidden"> to ${name}</span>
    <//>
    ${asking && html`<${Account} site=${site} node=${node} onClose=${() => setAsking(false)} />`}`;
}

/** @param {{ site: string, node: import("./kinds.js").Node, onClose: () => void }} props */
function Account({ site, node, onClose }) {
  const [login, setLogin] = useState("");
  const go = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (login.trim()) navigate(terminalHref(site, node.id, login.trim()));
  };
  return html`<${Dialog} title=${`Connect to ${harmless(node.hostname)}`} size="small" onClose=${onClose}>
    <form class="stack" onSubmit=${go}>
      <${Field} label="Account on the server" value=${login} onInput=${setLogin} autofocus autocomplete="off" spellcheck=${false} mono />
      <${Button} kind="primary" type="submit" wide disabled=${!login.trim()}>Open a terminal<//>
    </form>
  <//>`;
}
