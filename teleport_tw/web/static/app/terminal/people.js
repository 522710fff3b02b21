/**
 * Who else is in a session, above its terminal; and, for a moderator, the way to end it.
 */
import { html, useState } from "../html.js";
import { harmless } from "../text.js";
import { Badge, Button, Confirm, Icon } from "../ui/index.js";

/** @typedef {import("./tabs.js").Tab} Tab */

/** What a mode lets people do. @type {Record<string, { label: string, about: string, icon: string }>} */
export const MODES = {
  observer: { label: "Watch", about: "You see everything and type nothing.", icon: "eye" },
  peer: { label: "Work along", about: "You type into the same shell.", icon: "terminal" },
  moderator: { label: "Moderate", about: "You watch, answer when files are to be copied, and may end the session.", icon: "shield" },
};

/** @param {{ tab: Tab }} props */
export function People({ tab }) {
  const { session } = tab;
  const { participants, facts } = session;
  const [asking, setAsking] = useState(false);
  const joined = Boolean(tab.target.sid);
  if (session.state === "ended" || (participants.length < 2 && !joined)) return null;
  return html`<div class="people">
    <${Icon} name="users" size=${16} />
    <ul class="people-list" aria-label="In this session">
      ${participants.map(
        (each, index) => html`<li key=${`${each.user} ${index}`}>
          <span class="cut">${harmless(each.user, 64)}</span>
          ${each.mode && each.mode !== "peer" && html`<${Badge} tone=${each.mode === "moderator" ? "accent" : "plain"}>${each.mode}<//>`}
        </li>`,
      )}
    </ul>
    ${facts?.mode === "observer" && html`<span class="soft">You are watching.</span>`}
    ${facts?.mode === "moderator" &&
    html`<${Button} size="small" kind="danger" onClick=${() => setAsking(true)}>End for everybody<//>`}
    ${asking &&
    html`<${Confirm}
      title="End this session for everybody?"
      confirm="End the session"
      danger
      onConfirm=${() => session.end(true)}
      onClose=${() => setAsking(false)}
    >
      What runs in it is stopped, and everybody is sent out.
    <//>`}
  </div>`;
}
