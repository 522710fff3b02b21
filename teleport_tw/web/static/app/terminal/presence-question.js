/**
 * The question whether who moderates a session is still there, which a second factor answers.
 */
import { api } from "../api.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Cancelled, withMfa } from "../mfa.js";
import { harmless } from "../text.js";
import { Button, Icon } from "../ui/index.js";
import { useFocusBack } from "./focus.js";

/** @param {{ tab: import("./tabs.js").Tab }} props */
export function PresenceQuestion({ tab }) {
  const { session } = tab;
  const { present } = session.questions;
  if (session.state !== "live" || !present || !session.facts) return null;
  return html`<${Asked} tab=${tab} until=${present} facts=${session.facts} />`;
}

/** @param {{ tab: import("./tabs.js").Tab, until: number, facts: import("./session.js").Facts }} props */
function Asked({ tab, until, facts }) {
  const { session } = tab;
  const card = useRef(/** @type {HTMLElement | null} */ (null));
  const [now, tick] = useState(Date.now());
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const timer = setInterval(() => tick(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    if (!session.writable && tab.active) card.current?.focus();
  }, [session, tab]);
  useFocusBack(card, tab);
  const prove = async () => {
    setBusy(true);
    setProblem("");
    try {
      const asked = /** @type {const} */ ({
        scope: "session_presence",
        target: { kind: "session", name: facts.id },
        reason: "Show that it is you who moderates this session.",
      });
      const address = `/webapi/sites/${encodeURIComponent(facts.cluster)}/sessions/${encodeURIComponent(facts.id)}/presence`;
      await withMfa(asked, (proof) => api.post(address, proof));
      session.present();
      if (tab.active) tab.screen.focus(); // the button that was pressed is not there any more
    } catch (error) {
      if (!(error instanceof Cancelled)) setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  const seconds = Math.max(0, Math.ceil((until - now) / 1000));
  return html`<section class="terminal-note presence-question is-warn" role="alert" aria-label="Are you there?" tabindex="-1" ref=${card}>
    <${Icon} name="shield" />
    <div class="grow">
      <strong>Are you there?</strong>
      <div class="small">${problem ? harmless(problem, 256) : html`This session needs its moderator. <span aria-hidden="true">Answer within ${seconds} s.</span>`}</div>
    </div>
    <${Button} size="small" kind="primary" busy=${busy} onClick=${prove}>I am here<//>
  </section>`;
}
