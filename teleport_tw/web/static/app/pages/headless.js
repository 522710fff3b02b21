/**
 * Somebody at a machine without a browser asks to be signed in as me: yes or no.
 */
import { html, useEffect, useState } from "../html.js";
import { api } from "../api.js";
import { Cancelled, withMfa } from "../mfa.js";
import { useLoad } from "../load.js";
import { Button, EmptyState, ErrorState, KeyValue, Loading, Notice, Page, Timeago } from "../ui/index.js";

/** @param {{ params: Record<string, string> }} props */
export default function Headless({ params }) {
  const id = params.id ?? "";
  const path = `/webapi/headless/${encodeURIComponent(id)}`;
  const loaded = useLoad((signal) => api.get(path, { signal }), [path]);
  const [busy, setBusy] = useState(/** @type {"" | "yes" | "no"} */ (""));
  const [problem, setProblem] = useState("");
  const asked = loaded.data;
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!asked) return undefined;
    const timer = setTimeout(() => setLate(true), Math.max(0, new Date(asked.expires).getTime() - Date.now()));
    return () => clearTimeout(timer);
  }, [asked]);

  /** @param {"yes" | "no"} answer @param {() => Promise<unknown>} work */
  const send = async (answer, work) => {
    setBusy(answer);
    setProblem("");
    try {
      await work();
      loaded.set({ ...asked, state: answer === "yes" ? "approved" : "denied" });
    } catch (error) {
      if (!(error instanceof Cancelled)) setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy("");
    }
  };
  const approve = () =>
    send("yes", () =>
      withMfa({ scope: "headless", target: { kind: "headless", name: id }, reason: "Approve the sign-in with your key." }, (proof) =>
        api.put(path, { action: "accept", ...proof }),
      ),
    );
  const deny = () => send("no", () => api.put(path, { action: "denied" }));

  return html`<${Page} narrow title="Sign in another machine?">
    <div class="card headless">${body()}</div>
  <//>`;

  function body() {
    if (loaded.error && !asked) {
      if (loaded.error.status !== 404) return html`<${ErrorState} error=${loaded.error} onRetry=${loaded.reload} />`;
      return html`<${EmptyState} icon="clock" title="There is no such request">It is over, or it is somebody else’s. Run the command again.<//>`;
    }
    if (!asked) return html`<${Loading} />`;
    if (asked.state === "approved") return html`<${EmptyState} icon="check" title="Approved">The command goes on where it was started. You can close this page.<//>`;
    if (asked.state === "denied") return html`<${EmptyState} icon="close" title="Denied">If it was not you who asked, somebody knows your user name. Nothing else is known to them by this.<//>`;
    if (late) return html`<${EmptyState} icon="clock" title="Too late">The request has expired. Run the command again.<//>`;
    return html`<div class="card-body stack">
      <p class="headless-lead">Somebody runs <code>tsh --headless</code> and wants to work there as <strong>${asked.username}</strong>. Is it you?</p>
      <${KeyValue}
        facts=${[
          { label: "From the address", value: html`<code>${asked.address}</code>` },
          { label: "Program", value: asked.userAgent },
          { label: "Asked", value: html`<${Timeago} time=${asked.created} />` },
          { label: "Request", value: html`<code class="break">${asked.id}</code>` },
        ]}
      />
      <${Notice} tone="warn">Approve only what you started yourself a moment ago.<//>
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <div class="row row-end">
        <${Button} kind="danger" busy=${busy === "no"} disabled=${busy === "yes"} onClick=${deny}>Deny<//>
        <${Button} kind="primary" busy=${busy === "yes"} disabled=${busy === "no"} onClick=${approve}>Approve<//>
      </div>
    </div>`;
  }
}
