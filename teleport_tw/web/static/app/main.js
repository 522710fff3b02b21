/**
 * Starts the application: who is signed in, which page the address means, and the frame round it.
 */
import { html, render, useEffect, useState } from "./html.js";
import { match, navigate, usePlace } from "./router.js";
import { ApiError, enter, goToSignIn, reachable, signOut } from "./api.js";
import { connection, session, useStore } from "./state.js";
import { PAGES, home } from "./pages/registry.js";
import { Layout } from "./ui/layout.js";
import { Gate } from "./ui/gate.js";
import { Button, ErrorState, Loading, Page, Toasts } from "./ui/index.js";

function App() {
  const { path, query } = usePlace();
  const { status, context } = useStore(session);
  const entry = find(path);
  const cluster = context?.cluster?.clusterId ?? "";
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const open = Boolean(entry?.page.open);

  const start = () => {
    setProblem(null);
    enter().catch((error) => error instanceof ApiError && error.status === 401 ? undefined : setProblem(error));
  };
  useEffect(() => {
    if (status === "unknown" && !open) start();
  }, [status, open]);
  useEffect(() => connection.subscribe((now) => now === "here" && session.get().status === "unknown" && !open && start()), [open]);
  useEffect(() => {
    if (status === "out" && !open) goToSignIn();
    if (status === "in" && path === "/web") navigate(home(cluster), { replace: true });
  }, [status, open, path]);

  if (open && entry) {
    return html`<${Lazy} key=${entry.page.path} page=${entry.page} params=${entry.params} query=${query} /><${Toasts} />`;
  }
  if (status !== "in") {
    return problem ? html`<${Outside} problem=${problem} onRetry=${start} />` : html`<div class="alone"><${Loading} /></div>`;
  }
  if (path === "/web") return null;
  if (!entry) {
    return html`<${Layout}><${Page} title="There is no such page" lead="The address may have been cut off, or the page is gone.">
      <${Button} href="/web">To the start<//>
    <//><//>`;
  }
  return html`<${Layout} full=${entry.page.full}>
    <${Lazy} key=${entry.page.path} page=${entry.page} params=${entry.params} query=${query} />
  <//>`;
}

/**
 * There is a session, and no way in with it: the user is locked, for one. The next person may still sign in.
 * @param {{ problem: Error, onRetry: () => void }} props
 */
function Outside({ problem, onRetry }) {
  const refused = problem instanceof ApiError && problem.status === 403;
  return html`<${Gate} cluster="" title=${refused ? "You may not enter" : "That did not work"}>
    <div class="stack">
      <p class="soft break" role="alert">${problem.message}</p>
      <${Button} wide icon="refresh" onClick=${onRetry}>Try again<//>
      ${refused && html`<${Button} wide icon="signOut" onClick=${signOut}>Sign out<//>`}
    </div>
  <//>`;
}

/** @param {string} path */
function find(path) {
  for (const page of PAGES) {
    const params = match(page.path, path);
    if (params) return { page, params };
  }
  return null;
}

/**
 * A page whose module is fetched when it is first opened.
 * @param {{ page: import("./pages/registry.js").PageEntry, params: Record<string, string>, query: URLSearchParams }} props
 */
function Lazy({ page, params, query }) {
  const [state, setState] = useState(/** @type {{ view?: any, problem?: Error }} */ ({}));
  useEffect(() => {
    let gone = false;
    // A module that cannot be fetched is tried once more when the proxy answers; then it is another version's.
    page
      .load()
      .catch(() => reachable().then(() => page.load()))
      .then(
        (module) => !gone && setState({ view: module.default }),
        () => !gone && setState({ problem: new Error("The cluster has been upgraded meanwhile. Load the page again.") }),
      );
    return () => {
      gone = true;
    };
  }, [page]);
  if (state.problem) return html`<${ErrorState} title="There is a newer version" error=${state.problem} onRetry=${() => location.reload()} retry="Load again" />`;
  if (!state.view) return html`<${Loading} />`;
  return html`<${state.view} params=${params} query=${query} />`;
}

const root = document.getElementById("app");
if (root) render(html`<${App} />`, root);
