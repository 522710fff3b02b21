/**
 * What lies over the page: dialogs, menus, tips, and the notes in the corner; and tabs, which share the arrow keys.
 */
import { html, classes, useId, useLayoutEffect, useRef, useState } from "../html.js";
import { dismiss, notes, useStore } from "../state.js";
import { Button } from "./controls.js";
import { Icon } from "./icons.js";

/** @typedef {import("../html.js").Children} Children */

/**
 * A modal dialog, shown while it is rendered. The browser keeps the focus inside and gives it back afterwards; Escape and
 * a click outside close it, unless `steady` (something typed would be lost).
 * @param {{
 *   title: string, onClose: () => void, children?: Children, footer?: Children, size?: "small" | "normal" | "large", steady?: boolean
 * }} props
 */
export function Dialog({ title, onClose, children, footer, size = "normal", steady = false }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    if (dialog && !dialog.open) {
      if (document.querySelector("dialog[open]")) dialog.classList.add("dialog-over");
      dialog.showModal();
    }
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return html`<dialog
    ref=${element}
    class=${`dialog dialog-${size}`}
    aria-labelledby=${id}
    onCancel=${(/** @type {Event} */ event) => {
      event.preventDefault();
      onClose();
    }}
    onPointerDown=${(/** @type {PointerEvent} */ event) => event.target === element.current && !steady && onClose()}
  >
    <div class="dialog-sheet">
      <header class="dialog-head">
        <h2 id=${id}>${title}</h2>
        <${Button} kind="quiet" size="small" icon="close" label="Close" onClick=${onClose} />
      </header>
      <div class="dialog-body">${children}</div>
      ${footer && html`<footer class="dialog-foot">${footer}</footer>`}
    </div>
  </dialog>`;
}

/**
 * A question before something that cannot be taken back.
 * @param {{
 *   title: string, children?: Children, confirm: string, danger?: boolean, onConfirm: () => Promise<unknown> | void, onClose: () => void
 * }} props closes by itself when `onConfirm` is done; an error of it is shown in the dialog
 */
export function Confirm({ title, children, confirm, danger = false, onConfirm, onClose }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const go = async () => {
    setBusy(true);
    setProblem("");
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return html`<${Dialog}
    size="small"
    title=${title}
    onClose=${onClose}
    footer=${html`
      <${Button} onClick=${onClose} disabled=${busy}>Cancel<//>
      <${Button} kind=${danger ? "danger" : "primary"} busy=${busy} onClick=${go}>${confirm}<//>
    `}
  >
    ${children}
    ${problem && html`<p class="field-error" role="alert"><${Icon} name="alert" size=${16} /><span>${problem}</span></p>`}
  <//>`;
}

/**
 * @typedef {{ label: string, icon?: string, onSelect?: () => void, href?: string, danger?: boolean, disabled?: boolean, detail?: string } | "line"} MenuItem
 */

/**
 * A button that opens a list of actions. Arrow keys walk, letters jump, Escape closes.
 * @param {{
 *   label: string, items: MenuItem[], icon?: string, children?: Children, kind?: "plain" | "quiet" | "primary", size?: "normal" | "small",
 *   align?: "start" | "end", up?: boolean, head?: Children, buttonClass?: string, caret?: boolean
 * }} props without children the button has only its icon
 */
export function Menu({ label, items, icon = "more", children, kind = "quiet", size = "normal", align = "end", up = false, head, buttonClass, caret = false }) {
  const [open, setOpen] = useState(false);
  const [flipped, setFlipped] = useState(false);
  const root = useRef(/** @type {HTMLDivElement | null} */ (null));
  const id = useId();
  const entries = () => [.../** @type {NodeListOf<HTMLElement>} */ (root.current?.querySelectorAll("[role=menuitem]:not([aria-disabled=true])") ?? [])];
  useLayoutEffect(() => {
    if (!open) {
      setFlipped(false);
      return undefined;
    }
    // Where the window ends below it, it opens upwards, if there is more room.
    const list = root.current?.querySelector(".menu-list")?.getBoundingClientRect();
    const button = root.current?.getBoundingClientRect();
    const flip = Boolean(!up && list && button && list.bottom > innerHeight && button.top > list.height);
    setFlipped(flip);
    entries()[0]?.focus({ preventScroll: flip });
    const away = (/** @type {Event} */ event) => {
      if (event.target instanceof Node && !root.current?.contains(event.target)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
    };
  }, [open]);
  const close = () => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (!open) {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        setOpen(true);
      }
      return;
    }
    const list = entries();
    const at = list.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: (at + 1) % list.length, ArrowUp: (at - 1 + list.length) % list.length, Home: 0, End: list.length - 1 };
    if (event.key === "Escape") close();
    else if (event.key in moves) list[moves[event.key] ?? 0]?.focus();
    else if (event.key.length === 1) {
      const letter = event.key.toLowerCase();
      [...list.slice(at + 1), ...list].find((item) => item.textContent?.trim().toLowerCase().startsWith(letter))?.focus();
      if (letter === " ") return;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class="menu" ref=${root} onKeyDown=${keys}>
    <${Button}
      kind=${kind}
      size=${size}
      class=${buttonClass}
      icon=${children && icon === "more" ? undefined : icon}
      label=${children ? undefined : label}
      aria-haspopup="menu"
      aria-expanded=${open ? "true" : "false"}
      aria-controls=${open ? id : undefined}
      onClick=${() => setOpen(!open)}
    >${children && html`${children}${caret && html`<${Icon} name="chevronDown" size=${16} />`}`}<//>
    ${open &&
    html`<div class=${classes("menu-list", `menu-${align}`, (up || flipped) && "menu-up")}>
      ${head && html`<div class="menu-head">${head}</div>`}
      <div id=${id} role="menu" aria-label=${label}>
        ${items.map((item, index) => (item === "line" ? html`<hr key=${index} />` : entry(item, close)))}
      </div>
    </div>`}
  </div>`;
}

/**
 * @param {Exclude<MenuItem, "line">} item
 * @param {() => void} close
 */
function entry(item, close) {
  const inside = html`${item.icon && html`<${Icon} name=${item.icon} size=${18} />`}
    <span class="menu-text">${item.label}${item.detail && html`<small>${item.detail}</small>`}</span>`;
  const names = classes("menu-item", item.danger && "is-danger");
  if (item.href) {
    return html`<a key=${item.label} class=${names} role="menuitem" tabindex="-1" href=${item.href} onClick=${close}>${inside}</a>`;
  }
  return html`<button
    key=${item.label}
    class=${names}
    role="menuitem"
    type="button"
    tabindex="-1"
    aria-disabled=${item.disabled ? "true" : undefined}
    onClick=${() => {
      if (item.disabled) return;
      close();
      item.onSelect?.();
    }}
  >${inside}</button>`;
}

/**
 * A few views of one thing. The chosen one is rendered by the caller, inside.
 * @param {{
 *   label: string, tabs: { key: string, label: Children }[], chosen: string, onChoose: (key: string) => void, children?: Children
 * }} props
 */
export function Tabs({ label, tabs, chosen, onChoose, children }) {
  const id = useId();
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const at = tabs.findIndex((tab) => tab.key === chosen);
    /** @type {Record<string, number>} */
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = tabs[((moves[event.key] ?? 0) + tabs.length) % tabs.length];
    if (!next) return;
    onChoose(next.key);
    document.getElementById(`${id}-${next.key}`)?.focus();
  };
  return html`<div class="tabs">
    <div class="tab-list" role="tablist" aria-label=${label} onKeyDown=${keys}>
      ${tabs.map(
        (tab) => html`<button
          key=${tab.key}
          id=${`${id}-${tab.key}`}
          class=${classes("tab", tab.key === chosen && "is-chosen")}
          role="tab"
          type="button"
          aria-selected=${tab.key === chosen ? "true" : "false"}
          aria-controls=${`${id}-panel`}
          tabindex=${tab.key === chosen ? 0 : -1}
          onClick=${() => onChoose(tab.key)}
        >${tab.label}</button>`,
      )}
    </div>
    <div id=${`${id}-panel`} class="tab-panel" role="tabpanel" aria-labelledby=${`${id}-${chosen}`}>${children}</div>
  </div>`;
}

/**
 * A word more on hover and on focus. For what is not needed to understand the page.
 * @param {{ text: string, children?: Children }} props
 */
export function Tooltip({ text, children }) {
  const id = useId();
  return html`<span class="tip" tabindex="0" aria-describedby=${id}>${children}<span class="tip-text" id=${id} role="tooltip">${text}</span></span>`;
}

/** The notes in the corner; rendered once, by the frame of the page. */
export function Toasts() {
  const list = useStore(notes);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${list.map(
      (note) => html`<div key=${note.id} class=${`toast toast-${note.tone}`}>
        <${Icon} name=${note.tone === "bad" ? "alert" : note.tone === "good" ? "check" : "info"} size=${18} />
        <span>${note.text}</span>
        <${Button} kind="quiet" size="small" icon="close" label="Dismiss" onClick=${() => dismiss(note.id)} />
      </div>`,
    )}
  </div>`;
}
