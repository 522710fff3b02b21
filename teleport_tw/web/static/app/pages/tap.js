/**
 * A login by SSH waits for my second factor: yes, with a key; or I leave it.
 */
import { html, useEffect, useState } from "../html.js";
import { api } from "../api.js";
import { Cancelled, withMfa } from "../mfa.js";
import { useLoad } from "../load.js";
import { Button, EmptyState, ErrorState, KeyValue, Loading, Notice, Page, Timeago } from "../ui/index.js";

/** @param {{ params: Record<string, string> }} props */
export default function Tap({ params }) {
  const id = params.id ?? "";
  const path = `/webapi/tap/${encodeURIComponent(id)}`;
  const loaded = useLoad((signal) => api.get(path, { signal }), [path]);
  const [busy, setBusy] = useState(false);
  const [late, setLate] = useState(false);
  const [problem, setProblem] = useState("");
  const asked = loaded.data;
  useEffect(() => {
    if (!asked) return undefined;
    const timer = setTimeout(() => setLate(true), Math.max(0, new Date(asked.expires).getTime() - Date.now()));
    return () => clearTimeout(timer);
  }, [asked]);
  const approve = async () => {
    setBusy(true);
    setProblem("");
    try {
      const target = { kind: "ssh_login", name: id };
      await withMfa({ scope: "session", target, reason: "Let the login go on with your key." }, (proof) => api.put(path, proof));
      loaded.set({ ...asked, state: "approved" });
    } catch (error) {
      if (!(error instanceof Cancelled)) setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };

  return html`<${Page} narrow title="Let this login go on?"><div class="card headless">${body()}</div><//>`;

  function body() {
    if (loaded.error && !asked) {
      if (loaded.error.status !== 404) return html`<${ErrorState} error=${loaded.error} onRetry=${loaded.reload} />`;
      return html`<${EmptyState} icon="clock" title="There is no such login">It is over, or it is somebody else’s. Connect again.<//>`;
    }
    if (!asked) return html`<${Loading} />`;
    if (asked.state === "approved") return html`<${EmptyState} icon="check" title="Approved">Press Enter where the login waits. You can close this page.<//>`;
    if (late) return html`<${EmptyState} icon="clock" title="Too late">The login has waited too long. Connect again.<//>`;
    return html`<div class="card-body stack">
      <p class="headless-lead">Somebody with your certificate connects to <strong>${asked.hostname}</strong> as <strong>${asked.login}</strong>. Is it you?</p>
      <${KeyValue}
        facts=${[
          { label: "Server", value: asked.hostname },
          { label: "Login", value: html`<code>${asked.login}</code>` },
          { label: "From the address", value: html`<code>${asked.address}</code>` },
          { label: "Asked", value: html`<${Timeago} time=${asked.created} />` },
        ]}
      />
      <${Notice} tone="warn">Approve only what you started yourself a moment ago. If it was not you, somebody has your certificate and its key: sign out with tsh logout, and tell your administrator.<//>
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <div class="row row-end"><${Button} kind="primary" busy=${busy} onClick=${approve}>Approve<//></div>
    </div>`;
  }
}
