/**
 * The frame round every page of a signed-in user: navigation at the side, on phones in a drawer; the account; the line
 * that says when the cluster does not answer.
 */
import { html, classes, useEffect, useRef, useState } from "../html.js";
import { expires, signOut } from "../api.js";
import { connection, session, theme, useStore } from "../state.js";
import { usePlace } from "../router.js";
import { navigation } from "../pages/registry.js";
import { Button } from "./controls.js";
import { Icon } from "./icons.js";
import { MfaDialog } from "../mfa.js";
import { Menu, Toasts } from "./overlays.js";

/**
 * @param {{ children?: import("../html.js").Children, full?: boolean }} props `full`: no navigation until it is called
 */
export function Layout({ children, full = false }) {
  const { context } = useStore(session);
  const { path } = usePlace();
  const [open, setOpen] = useState(false);
  const bar = useRef(/** @type {HTMLElement | null} */ (null));
  const drawer = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    if (!open) return undefined;
    drawer.current?.querySelector("a")?.focus();
    const escape = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      setOpen(false);
      bar.current?.querySelector("button")?.focus();
    };
    document.addEventListener("keydown", escape);
    return () => document.removeEventListener("keydown", escape);
  }, [open]);
  const cluster = context?.cluster?.clusterId ?? "";
  return html`<div class=${classes("frame", full && "frame-full", open && "is-open")}>
    <a class="skip" href="#main">Skip to the content</a>
    <header class="topbar" ref=${bar}>
      <${Button}
        kind="quiet"
        icon=${open ? "close" : "menu"}
        label=${open ? "Close the navigation" : "Open the navigation"}
        aria-expanded=${open ? "true" : "false"}
        onClick=${() => setOpen(!open)}
      />
      <${Brand} cluster=${cluster} />
      <${Account} small />
    </header>
    <div class="veil" onClick=${() => setOpen(false)}></div>
    <aside class="sidebar" ref=${drawer}>
      <${Brand} cluster=${cluster} />
      <nav class="nav" aria-label="Main">
        ${navigation(cluster).map(
          (section) => html`<div key=${section.label} class="nav-section">
            ${section.label && html`<h2 class="nav-label">${section.label}</h2>`}
            <ul>
              ${section.items.map(
                (item) => html`<li key=${item.href}>
                  <a class="nav-item" href=${item.href} aria-current=${isAt(path, item.href) ? "page" : undefined}>
                    <${Icon} name=${item.icon} /><span>${item.label}</span>
                  </a>
                </li>`,
              )}
            </ul>
          </div>`,
        )}
      </nav>
      <${Account} />
    </aside>
    <main class="main" id="main" tabindex="-1" inert=${open}>${children}</main>
    <${Away} />
    <${Toasts} />
    <${MfaDialog} />
  </div>`;
}

/** @param {string} path @param {string} href */
function isAt(path, href) {
  return path === href || path.startsWith(`${href}/`);
}

/** @param {{ cluster: string }} props */
function Brand({ cluster }) {
  return html`<a class="brand" href="/web">
    <span class="brand-sign"><${Icon} name="terminal" size=${18} /></span>
    <span class="brand-name" title=${cluster}>${cluster || "Teleport"}</span>
  </a>`;
}

/** @param {{ small?: boolean }} props */
function Account({ small = false }) {
  const { context } = useStore(session);
  const chosen = useStore(theme);
  const ends = useStore(expires);
  const name = context?.userName ?? "";
  const next = /** @type {const} */ ({ system: "light", light: "dark", dark: "system" })[chosen];
  const items = /** @type {import("./overlays.js").MenuItem[]} */ ([
    { label: "Account settings", icon: "settings", href: "/web/account" },
    {
      label: "Theme",
      detail: { system: "as the system", light: "light", dark: "dark" }[chosen],
      icon: chosen === "dark" ? "moon" : chosen === "light" ? "sun" : "monitor",
      onSelect: () => theme.set(next),
    },
    "line",
    { label: "Sign out", icon: "signOut", onSelect: signOut },
  ]);
  const head = html`<strong>${name}</strong>
    <small>${(context?.roles ?? []).join(", ")}</small>
    ${ends && html`<small>Signed in until ${new Date(ends).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</small>`}`;
  return html`<div class=${classes("account", small && "account-small")}>
    <${Menu} label=${`Account of ${name}`} items=${items} align=${small ? "end" : "start"} up=${!small} head=${head} buttonClass="account-button">
      <span class="avatar" aria-hidden="true">${name.slice(0, 1).toUpperCase()}</span>
      <span class=${small ? "hidden" : "account-name"}>${name}</span>
    <//>
  </div>`;
}

/** The line that tells of a proxy that does not answer. */
function Away() {
  const state = useStore(connection);
  if (state === "here") return null;
  return html`<div class="away" role="alert">
    <span class="spinner"></span>
    <span>The cluster does not answer. This page goes on by itself as soon as it does.</span>
  </div>`;
}
