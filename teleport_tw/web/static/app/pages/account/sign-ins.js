/**
 * The browsers that are signed in as me.
 */
import { html, useState } from "../../html.js";
import { api } from "../../api.js";
import { toast } from "../../state.js";
import { Badge, Button, Confirm, ErrorState, Icon, Skeleton, Timeago } from "../../ui/index.js";

/**
 * @typedef {{ id: string, created: string, lastUsed: string, expires: string, address: string, userAgent: string, current: boolean }} SignIn
 */

/** @param {{ loaded: import("../../load.js").Loaded<any> }} props */
export function SignIns({ loaded }) {
  const [ending, setEnding] = useState(/** @type {SignIn | null} */ (null));
  /** @type {SignIn[]} */
  const list = loaded.data?.items ?? [];
  return html`<section class="card">
    <div class="card-head">
      <div class="grow">
        <h2>Active sign-ins</h2>
        <p>Browsers that are signed in as you. End those that you do not know, and change your password.</p>
      </div>
    </div>
    ${loaded.error && !loaded.data && html`<${ErrorState} error=${loaded.error} onRetry=${loaded.reload} />`}
    ${!loaded.data && !loaded.error && html`<div class="card-line"><div class="grow"><${Skeleton} lines=${2} /></div></div>`}
    <ul>
      ${list.map((each) => {
        const { name, icon } = browser(each.userAgent);
        return html`<li key=${each.id} class="card-line">
          <span class="card-sign"><${Icon} name=${icon} /></span>
          <div class="grow">
            <div class="row"><span class="cell-title">${name}</span>${each.current && html`<${Badge} tone="good" dot>This one<//>`}</div>
            <div class="cell-sub">${each.address} · used <${Timeago} time=${each.lastUsed} /><span class="cell-more"> · signed in <${Timeago} time=${each.created} /></span></div>
          </div>
          ${!each.current && html`<${Button} size="small" onClick=${() => setEnding(each)}>End<//>`}
        </li>`;
      })}
    </ul>
    ${ending &&
    html`<${Confirm}
      danger
      title="End this sign-in?"
      confirm="End it"
      onClose=${() => setEnding(null)}
      onConfirm=${async () => {
        await api.del(`/webapi/sessions/mine/${encodeURIComponent(ending.id)}`);
        toast("The sign-in has been ended.");
        loaded.reload();
      }}
    >
      <p>${browser(ending.userAgent).name} at ${ending.address} has to sign in again.</p>
    <//>`}
  </section>`;
}

/**
 * @param {string} agent the User-Agent header
 * @returns {{ name: string, icon: string }} in words
 */
export function browser(agent) {
  const found = [
    ["Edge", /Edg(?:e|A|iOS)?\//],
    ["Opera", /OPR\//],
    ["Firefox", /(?:Firefox|FxiOS)\//],
    ["Chrome", /(?:Chrome|CriOS)\//],
    ["Safari", /Version\/.*Safari\//],
    ["tsh", /^tsh\b/],
  ].find(([, pattern]) => /** @type {RegExp} */ (pattern).test(agent));
  const system = [
    ["iPhone", /iPhone/],
    ["iPad", /iPad/],
    ["Android", /Android/],
    ["Windows", /Windows/],
    ["macOS", /Mac OS X/],
    ["ChromeOS", /CrOS/],
    ["Linux", /Linux/],
  ].find(([, pattern]) => /** @type {RegExp} */ (pattern).test(agent));
  const name = found ? String(found[0]) : "A program";
  const mobile = system && ["iPhone", "iPad", "Android"].includes(String(system[0]));
  return { name: system ? `${name} on ${system[0]}` : name, icon: mobile ? "phone" : "laptop" };
}
