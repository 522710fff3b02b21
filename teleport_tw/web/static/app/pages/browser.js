/**
 * A program on this machine (`tsh login --browser`) asks to be signed in as me.
 *
 * The address says on which port of this machine it waits: `?port=N`. The code goes there and nowhere else, so a link
 * that a stranger made signs nobody but this machine in.
 */
import { html, useEffect, useState } from "../html.js";
import { api } from "../api.js";
import { Cancelled, withMfa } from "../mfa.js";
import { useLoad } from "../load.js";
import { Button, EmptyState, ErrorState, KeyValue, Loading, Notice, Page, Timeago } from "../ui/index.js";

/** @param {{ params: Record<string, string>, query: URLSearchParams }} props */
export default function Browser({ params, query }) {
  const id = params.id ?? "";
  const path = `/webapi/browser/${encodeURIComponent(id)}`;
  const port = portOf(query.get("port"));
  const loaded = useLoad(async (signal) => {
    const [asked, devices] = await Promise.all([api.get(path, { signal }), api.get("/webapi/mfa/devices", { signal })]);
    return { asked, proves: devices.items.length > 0 };
  }, [path]);
  const [state, setState] = useState(/** @type {"" | "busy" | "sent" | "denied" | "late"} */ (""));
  const [problem, setProblem] = useState("");
  const asked = loaded.data?.asked;
  useEffect(() => {
    if (!asked) return undefined;
    const left = new Date(asked.expires).getTime() - Date.now();
    const timer = setTimeout(() => setState((now) => (now === "" ? "late" : now)), Math.max(0, left));
    return () => clearTimeout(timer);
  }, [asked]);
  const approve = async () => {
    setState("busy");
    setProblem("");
    const send = (/** @type {import("../mfa.js").Answer} */ proof) => api.put(path, proof);
    const target = { kind: "browser", name: id };
    try {
      const { code } = loaded.data?.proves
        ? await withMfa({ scope: "browser", target, reason: "Signing in a program needs your second factor." }, send)
        : await send({});
      setState("sent");
      location.assign(`http://127.0.0.1:${port}/callback?code=${encodeURIComponent(code)}`);
    } catch (error) {
      setState("");
      if (!(error instanceof Cancelled)) setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return html`<${Page} narrow title="Sign in a program?"><div class="card headless">${body()}</div><//>`;

  function body() {
    if (loaded.error && !asked) {
      if (loaded.error.status !== 404) return html`<${ErrorState} error=${loaded.error} onRetry=${loaded.reload} />`;
      return html`<${EmptyState} icon="clock" title="There is no such request">It is over. Run the command again.<//>`;
    }
    if (!port) return html`<${EmptyState} icon="alert" title="The link is incomplete">Run the command again, and open the whole link.<//>`;
    if (!asked) return html`<${Loading} />`;
    if (state === "sent") return html`<${EmptyState} icon="check" title="Approved">The program goes on where it was started. You can close this page.<//>`;
    if (state === "denied") return html`<${EmptyState} icon="close" title="Denied">Nothing was signed in. You can close this page.<//>`;
    if (state === "late") return html`<${EmptyState} icon="clock" title="Too late">The request has expired. Run the command again.<//>`;
    return html`<div class="card-body stack">
      <p class="headless-lead">A program on this machine wants to sign in as <strong>${asked.username}</strong>. Did you start it?</p>
      <${KeyValue}
        facts=${[
          { label: "From the address", value: html`<code>${asked.address}</code>` },
          { label: "Program", value: asked.userAgent },
          { label: "Asked", value: html`<${Timeago} time=${asked.created} />` },
        ]}
      />
      <${Notice} tone="warn">Approve only what you started yourself a moment ago, on this machine.<//>
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <div class="row row-end">
        <${Button} kind="danger" disabled=${state === "busy"} onClick=${() => setState("denied")}>Deny<//>
        <${Button} kind="primary" busy=${state === "busy"} onClick=${approve}>Approve<//>
      </div>
    </div>`;
  }
}

/**
 * @param {string | null} text
 * @returns {number} 0 where it is none that a program of the user may have
 */
function portOf(text) {
  const port = /^\d{4,5}$/.test(text ?? "") ? Number(text) : 0;
  return port >= 1024 && port <= 65535 ? port : 0;
}
