/**
 * What is said over a terminal: that the connection is gone and what becomes of what is typed; how a session ended.
 * Nothing of it changes the terminal's size.
 */
import { html, useEffect, useState } from "../html.js";
import { harmless, harmlessLines } from "../text.js";
import { Button, CopyButton, Icon, Spinner } from "../ui/index.js";

/** @typedef {import("./tabs.js").Tab} Tab */

/** @param {{ tab: Tab }} props */
export function Waiting({ tab }) {
  const { session } = tab;
  const [, tick] = useState(0);
  const lost = session.state === "lost";
  useEffect(() => {
    if (!lost) return undefined;
    const timer = setInterval(() => tick((round) => round + 1), 500);
    return () => clearInterval(timer);
  }, [lost]);
  if (session.state === "connecting") {
    return html`<div class="terminal-note" role="status"><${Spinner} /><span>Connecting to ${tab.name}</span></div>`;
  }
  if (!lost) return session.full ? html`<div class="terminal-note is-warn" role="alert">${TOO_MUCH}</div>` : null;
  const seconds = Math.max(0, Math.ceil((session.retryAt - Date.now()) / 1000));
  return html`<div class="terminal-note is-warn" role="alert">
    <${Spinner} />
    <div class="grow">
      <strong>The connection was lost.</strong>${" "}
      ${session.resume ? "Your session goes on; " : ""}${seconds ? `next attempt in ${seconds} s.` : "trying again."}
      <div class="small">${session.full ? TOO_MUCH : ahead(session)}</div>
    </div>
    <div class="row">
      ${session.ahead > 0 && html`<${Button} size="small" kind="quiet" onClick=${() => session.discard()}>Discard what I typed<//>`}
      <${Button} size="small" onClick=${() => session.retry()}>Try now<//>
    </div>
  </div>`;
}

const TOO_MUCH = "More was typed than can be kept until the connection is back. The last of it was not taken.";

/** @param {import("./session.js").Session} session */
function ahead(session) {
  if (!session.resume) return "";
  if (!session.ahead) return "What you type meanwhile is kept and sent when it is back.";
  const keys = session.ahead === 1 ? "1 byte waits" : `${session.ahead.toLocaleString()} bytes wait`;
  return `${keys} to be sent when it is back.`;
}

/** @param {{ tab: Tab, onAgain: () => void, onClose: () => void }} props */
export function Ended({ tab, onAgain, onClose }) {
  const { ending, state } = tab.session;
  if (state !== "ended") return null;
  const { title, text, good } = words(ending);
  const lost = harmlessLines(ending.undelivered.trimEnd());
  return html`<section class="terminal-end" role="status" aria-label="The session has ended">
    <${Icon} name=${good ? "check" : "alert"} class=${good ? "" : "is-bad"} />
    <div class="grow">
      <h2>${title}</h2>
      ${text && html`<p class="soft">${text}</p>`}
      ${lost &&
      html`<div class="terminal-undelivered">
        <p><strong>This did not reach the server:</strong></p>
        <pre class="code-text code-wrap">${lost}</pre>
        <${CopyButton} text=${ending.undelivered.replaceAll("\r", "\n")} label="Copy what did not reach the server" />
      </div>`}
    </div>
    <div class="row">
      <${Button} size="small" onClick=${onClose}>Close<//>
      ${ending.code === "signed_out" || ending.code === "bad_token"
        ? html`<${Button} size="small" kind="primary" onClick=${() => location.reload()}>Sign in again<//>`
        : html`<${Button} size="small" kind="primary" onClick=${onAgain}>Start again<//>`}
    </div>
  </section>`;
}

/** @type {Record<string, string>} */
const TITLES = {
  bad_token: "You are not signed in any more",
  closed: "You ended the session",
  ended: "The session was ended",
  gone: "The session is over",
  lost: "The connection was lost",
  refused: "You cannot open this session",
  restart: "The cluster's proxy was restarted",
  signed_out: "You are not signed in any more",
  taken_over: "This session goes on in another window",
  unreachable: "The server cannot be reached",
};

/**
 * @param {import("./session.js").Ending} ending
 * @returns {{ title: string, text: string, good: boolean }}
 */
export function words({ code, reason, status, signal }) {
  const text = reason && `${reason.slice(0, 1).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
  if (code !== "exited") return { title: TITLES[code] ?? "The session has ended", text: harmless(text), good: code === "closed" };
  if (signal) return { title: "The shell was stopped", text: `By the signal ${harmless(signal, 20)}.`, good: false };
  if (!status) return { title: "The shell has ended", text: "", good: true };
  return { title: "The shell has ended", text: `Its exit status was ${status}.`, good: false };
}
