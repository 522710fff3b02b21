/**
 * The question whether a file may be copied, over the terminal of a session that others must watch. Who moderates
 * answers it; everybody else reads what is waited for.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { harmless } from "../text.js";
import { Button, Icon, Spinner } from "../ui/index.js";
import { useFocusBack } from "./focus.js";

/** @typedef {import("./tabs.js").Tab} Tab */

/** A question is answered once it was there as long: a click may have been meant for the one before. */
const LOOK_MS = 1000;
/** Nothing of a path is cut: the server asks of no longer one. A letter may be two units. */
const PATH_LETTERS = 2048;
/** How long an outcome is shown. */
const OUTCOME_MS = 8000;

/** @param {{ tab: Tab }} props */
export function FileQuestion({ tab }) {
  const { session } = tab;
  const { asked, outcome } = session.questions;
  if (session.state !== "live") return null;
  if (asked) return html`<${Question} key=${asked.id} tab=${tab} asked=${asked} />`;
  return outcome && html`<${Outcome} key=${outcome.id} tab=${tab} outcome=${outcome} />`;
}

/** @param {{ tab: Tab, asked: import("./questions.js").Asked }} props */
function Question({ tab, asked }) {
  const { session } = tab;
  const card = useRef(/** @type {HTMLElement | null} */ (null));
  const [ready, setReady] = useState(false);
  const open = asked.counts && asked.said === null;
  useEffect(() => {
    const timer = setTimeout(() => setReady(true), LOOK_MS);
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    // Keys of who only watches go nowhere: the question is where they are wanted.
    if (open && !session.writable && tab.active) card.current?.focus();
  }, [open, session, tab]);
  useFocusBack(card, tab);
  const decide = (/** @type {boolean} */ approved) => {
    tab.screen.focus();
    session.decide(asked.id, approved);
  };
  return html`<section class="terminal-note file-question" role="status" aria-label="A file is asked about" tabindex="-1" ref=${card}>
    ${open ? html`<${Icon} name="file" />` : html`<${Spinner} />`}
    <div class="grow">
      <strong>${harmless(asked.requester, 64)} wants to copy a file ${asked.upload ? "to" : "from"} the server.</strong>
      <code class="file-path">${harmless(asked.location, PATH_LETTERS)}</code>
      <div class="small">${state(asked, tab)}</div>
    </div>
    ${open &&
    html`<div class="row">
      <${Button} size="small" disabled=${!ready} onClick=${() => decide(false)}>Deny<//>
      <${Button} size="small" kind="primary" disabled=${!ready} onClick=${() => decide(true)}>Approve<//>
    </div>`}
  </section>`;
}

/** @param {import("./questions.js").Asked} asked @param {Tab} tab @returns {string} */
function state({ approvers, missing, counts, said }, tab) {
  const by = approvers.length ? `Approved by ${approvers.map((each) => harmless(each, 64)).join(", ")}. ` : "";
  if (missing) return `${by}Still needed: ${harmless(missing, 256)}.`;
  if (said !== null) return `${by}You have answered.`;
  if (counts) return `${by}Approving is good for this file, once.`;
  return `${by}${tab.target.sid ? "A moderator answers." : "Waiting for those who watch to approve."}`;
}

/** @param {{ tab: Tab, outcome: import("./questions.js").Outcome }} props */
function Outcome({ tab, outcome }) {
  const { session } = tab;
  const card = useRef(/** @type {HTMLElement | null} */ (null));
  useFocusBack(card, tab);
  useEffect(() => {
    const timer = setTimeout(() => session.forget(outcome.id), OUTCOME_MS);
    return () => clearTimeout(timer);
  }, [session, outcome.id]);
  const path = harmless(outcome.location, PATH_LETTERS);
  return html`<section class=${`terminal-note file-question ${outcome.granted ? "" : "is-warn"}`} role="status" aria-label="A file was asked about" ref=${card}>
    <${Icon} name=${outcome.granted ? "check" : "alert"} />
    <div class="grow">
      <strong>${outcome.granted ? "Approved: the file is copied." : "The file is not copied."}</strong>
      <code class="file-path">${path}</code>
      ${outcome.reason && html`<div class="small">It was denied: ${harmless(outcome.reason, 256)}.</div>`}
    </div>
    <${Button} size="small" kind="quiet" icon="close" label="Close" onClick=${() => session.forget(outcome.id)} />
  </section>`;
}
