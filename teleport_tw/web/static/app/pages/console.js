/**
 * Terminals, in tabs. They stay open while other pages are looked at.
 */
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "../html.js";
import { navigate } from "../router.js";
import { useStore } from "../state.js";
import { linked, stylesheet } from "../stylesheet.js";
import { Button, Confirm, EmptyState, Menu } from "../ui/index.js";
import { windowTitle } from "../ui/page.js";
import { harmless, harmlessLines } from "../text.js";
import { Factor } from "../terminal/factor.js";
import { Finder } from "../terminal/finder.js";
import { KeyBar } from "../terminal/keys.js";
import { Ended, Waiting } from "../terminal/notes.js";
import { FileQuestion } from "../terminal/file-question.js";
import { People } from "../terminal/people.js";
import { PresenceQuestion } from "../terminal/presence-question.js";
import { Picker } from "../terminal/picker.js";
import { preferences } from "../terminal/preferences.js";
import { Settings } from "../terminal/settings.js";
import { Strip, go, idOf } from "../terminal/strip.js";
import { again, close, onShortcut, restore, sweep, tabTo, tabs } from "../terminal/tabs.js";
import { Files } from "../files/panel.js";

/** @typedef {import("../terminal/tabs.js").Tab} Tab */

await Promise.all([linked(import.meta.resolve("@xterm/xterm").replace(/\.js$/, ".css")), stylesheet("terminal")]);

/**
 * @param {{ params: { site: string, server?: string, login?: string, sid?: string }, query: URLSearchParams }} props
 */
export default function Console({ params, query }) {
  const all = useStore(tabs);
  const { site, server, login, sid } = params;
  const mode = query.get("mode") ?? undefined;
  const copy = query.get("copy") ?? undefined;
  const [key, setKey] = useState("");
  const [open, setOpen] = useState(/** @type {"" | "find" | "settings" | "new"} */ (""));
  const [files, setFiles] = useState(false);
  const panel = useId();
  useLayoutEffect(() => {
    restore();
    if (sid || server) setKey(tabTo({ site, server, login, sid, mode, copy }).key);
    setOpen("");
  }, [site, server, login, sid, mode, copy]);
  useEffect(() => sweep, []);
  const tab = all.find((each) => each.key === key) ?? null;
  const title = tab ? harmless(tab.title, 80) || tab.name : "Terminals";
  useEffect(() => {
    document.title = windowTitle(title);
  }, [title]);

  const shut = () => {
    setOpen("");
    requestAnimationFrame(() => tab?.screen.focus());
  };
  const leave = (/** @type {Tab} */ gone) => {
    const next = close(gone);
    if (gone !== tab) return;
    navigate(next ? next.href : `/web/cluster/${encodeURIComponent(site)}/resources`, { replace: true });
  };
  useEffect(() => {
    onShortcut((event) => {
      const at = tab ? all.indexOf(tab) : 0;
      /** @type {Record<string, () => void>} */
      const taken = {
        KeyF: () => setOpen("find"),
        ArrowLeft: () => move(at - 1),
        ArrowRight: () => move(at + 1),
        ArrowUp: () => tab && document.getElementById(idOf(tab))?.focus(),
      };
      const move = (/** @type {number} */ to) => {
        const next = all[(to + all.length) % all.length];
        if (next) go(next);
      };
      const work = taken[event.code];
      if (!work) return false;
      event.preventDefault();
      work();
      return true;
    });
    return () => onShortcut(() => false);
  });

  return html`<div class="console">
    <h1 class="hidden">${title}</h1>
    <div class="console-bar">
      <${Strip} tabs=${all} chosen=${tab} onClose=${leave} onNew=${() => setOpen("new")} panel=${panel} />
      ${tab && html`<${Tools} tab=${tab} files=${files} onFiles=${() => setFiles(!files)} onOpen=${setOpen} onClose=${() => leave(tab)} />`}
    </div>
    ${tab
      ? html`<${People} tab=${tab} />
          <div class="console-body">
            <${Pane} key=${tab.key} tab=${tab} panel=${panel}>
              <${Waiting} tab=${tab} />
              <${PresenceQuestion} tab=${tab} />
              <${FileQuestion} tab=${tab} />
              ${open === "find" && html`<${Finder} screen=${tab.screen} onClose=${shut} />`}
            <//>
            ${files && tab.session.facts && html`<${Files} key=${tab.key} tab=${tab} onClose=${() => setFiles(false)} />`}
          </div>
          <${Ended} tab=${tab} onAgain=${() => again(tab)} onClose=${() => leave(tab)} />
          <${Keys} tab=${tab} />
          <${Questions} tab=${tab} />`
      : html`<${EmptyState}
          icon="terminal"
          title="No terminal is open"
          action=${html`<${Button} kind="primary" icon="plus" onClick=${() => setOpen("new")}>Open a terminal<//>`}
        />`}
    ${open === "settings" && html`<${Settings} onClose=${shut} />`}
    ${open === "new" && html`<${Picker} site=${site} tab=${tab} onClose=${shut} />`}
  </div>`;
}

/**
 * The terminal itself, and what lies over it.
 * @param {{ tab: Tab, panel: string, children?: import("../html.js").Children }} props
 */
function Pane({ tab, panel, children }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { screen } = tab;
  useLayoutEffect(() => {
    if (!place.current) return undefined;
    tab.active = true;
    screen.show(place.current);
    tab.begin();
    tab.looked();
    screen.focus();
    return () => {
      tab.active = false;
      if (!screen.closed) screen.hide();
    };
  }, [tab, screen]);
  return html`<div class="console-pane" id=${panel} role="tabpanel" aria-labelledby=${idOf(tab)}>
    <div class="console-screen" ref=${place}></div>
    ${children}
  </div>`;
}

/**
 * @param {{ tab: Tab, files: boolean, onFiles: () => void, onOpen: (what: "find" | "settings") => void, onClose: () => void }} props
 */
function Tools({ tab, files, onFiles, onOpen, onClose }) {
  const { session } = tab;
  const live = session.state === "live";
  return html`<div class="console-tools">
    ${live && session.latency.page !== null && html`<${Latency} latency=${session.latency} />`}
    ${(tab.target.server || session.facts) &&
    html`<${Button}
      kind="quiet"
      size="small"
      icon="folder"
      label="Files"
      aria-pressed=${files ? "true" : "false"}
      disabled=${!session.facts || session.facts.mode === "observer"}
      onClick=${onFiles}
    >Files<//>`}
    <${Menu}
      label="More"
      size="small"
      items=${[
        { label: "Search the terminal", icon: "search", detail: "Ctrl Shift F", onSelect: () => onOpen("find") },
        { label: "Copy", icon: "copy", detail: "Ctrl Shift C", onSelect: () => tab.screen.copy() },
        { label: "Terminal settings", icon: "settings", onSelect: () => onOpen("settings") },
        "line",
        { label: "Close this terminal", icon: "close", detail: "Its programs end", onSelect: onClose },
      ]}
    />
  </div>`;
}

/** @param {{ latency: { page: number | null, server: number | null } }} props */
function Latency({ latency: { page, server } }) {
  const whole = (page ?? 0) + (server ?? 0);
  const text = `${Math.max(1, Math.round(whole))} ms`;
  const about = [`To the proxy ${Math.round(page ?? 0)} ms`, server !== null && `to the server ${Math.round(server)} ms`];
  return html`<span class=${`latency ${whole > 250 ? "is-slow" : ""}`} title=${about.filter(Boolean).join(", ")}>${text}</span>`;
}

/** @param {{ tab: Tab }} props */
function Keys({ tab }) {
  const { bar } = useStore(preferences);
  return bar && tab.session.writable ? html`<${KeyBar} screen=${tab.screen} />` : null;
}

/**
 * What a session asks the person before it goes on.
 * @param {{ tab: Tab }} props
 */
function Questions({ tab }) {
  const { session, screen } = tab;
  const { link, paste } = tab.asked;
  const done = () => {
    tab.ask({});
    screen.focus();
  };
  if (session.state === "asking" && session.challenge) {
    return html`<${Factor}
      challenge=${session.challenge}
      where=${tab.name}
      problem=${session.notices.at(-1) ?? ""}
      onProof=${(/** @type {object} */ proof) => (session.answer(proof), screen.focus())}
      onClose=${() => session.end()}
    />`;
  }
  if (link) {
    return html`<${Confirm}
      title="Open this address?"
      confirm="Open in a new tab"
      onConfirm=${() => void window.open(link, "_blank", "noopener,noreferrer")}
      onClose=${done}
    >
      <p>A program in the terminal made this link:</p>
      <p class="mono break">${harmless(link, 2000)}</p>
    <//>`;
  }
  if (paste) {
    const lines = paste.trimEnd().split(/\r\n|\r|\n/);
    return html`<${Confirm}
      title=${`Paste ${lines.length} lines?`}
      confirm="Paste"
      onConfirm=${() => screen.terminal.paste(paste)}
      onClose=${done}
    >
      <p>The program in the terminal runs each line as soon as it is there.</p>
      <pre class="code-text code-wrap terminal-paste">${harmlessLines(lines.slice(0, 12).join("\n"))}${
        lines.length > 12 ? "\n…" : ""
      }</pre>
    <//>`;
  }
  return null;
}
