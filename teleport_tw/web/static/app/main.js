/**
 * Starts the application: who is signed in, which page the address means, and the frame round it.
 */
import { html, render, useEffect, useState } from "./html.js";
import { match, navigate, usePlace } from "./router.js";
import { ApiError, enter, goToSignIn, reachable } from "./api.js";
import { connection, session, useStore } from "./state.js";
import { PAGES, home } from "./pages/registry.js";
import { Layout } from "./ui/layout.js";
import { Button, EmptyState, ErrorState, Loading, Toasts } from "./ui/index.js";

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
    return html`<div class="alone">${problem ? html`<${ErrorState} error=${problem} onRetry=${start} />` : html`<${Loading} />`}</div>`;
  }
  if (path === "/web") return null;
  if (!entry) {
    return html`<${Layout}><${EmptyState} title="There is no such page" action=${html`<${Button} href="/web">To the start<//>`}>
      The address may have been cut off, or the page is gone.
    <//><//>`;
  }
  return html`<${Layout} full=${entry.page.full}>
    <${Lazy} key=${entry.page.path} page=${entry.page} params=${entry.params} query=${query} />
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
