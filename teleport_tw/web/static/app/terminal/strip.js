/**
 * The tabs above a terminal: which are open, which has something new, where a bell rang.
 *
 * The crosses are for pointers alone: a list of tabs may hold nothing but tabs. Keys close a tab by Delete, and the menu
 * beside has the same.
 */
import { html, classes } from "../html.js";
import { navigate } from "../router.js";
import { harmless } from "../text.js";
import { Button, Icon } from "../ui/index.js";

/** @typedef {import("./tabs.js").Tab} Tab */

const MARKS = {
  bell: "A bell rang",
  news: "Something new",
  lost: "Connection lost",
  ended: "Ended",
  connecting: "Connecting",
};

/** @param {Tab} tab @returns {keyof typeof MARKS | ""} */
function markOf({ session, bell, news }) {
  const { state } = session;
  if (state === "ended" || state === "lost") return state;
  if (state !== "live") return "connecting";
  return bell ? "bell" : news ? "news" : "";
}

/**
 * @param {{ tabs: Tab[], chosen: Tab | null, onClose: (tab: Tab) => void, onNew: () => void, panel: string }} props
 */
export function Strip({ tabs, chosen, onClose, onNew, panel }) {
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const at = chosen ? tabs.indexOf(chosen) : 0;
    /** @type {Record<string, number>} */
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
    const next = tabs[((moves[event.key] ?? NaN) + tabs.length) % tabs.length];
    if (event.key === "Delete" && chosen) onClose(chosen);
    else if (event.key === "Enter" || event.key === "ArrowDown") chosen?.screen.focus();
    else if (next) go(next, true);
    else return;
    event.preventDefault();
  };
  return html`<div class="strip">
    <div class="strip-tabs" role="tablist" aria-label="Terminals" onKeyDown=${keys}>
      ${tabs.map((tab) => html`<${One} key=${tab.key} tab=${tab} chosen=${tab === chosen} onClose=${() => onClose(tab)} panel=${panel} />`)}
    </div>
    <${Button} kind="quiet" size="small" icon="plus" label="Open another terminal" onClick=${onNew} />
  </div>`;
}

/** @param {{ tab: Tab, chosen: boolean, onClose: () => void, panel: string }} props */
function One({ tab, chosen, onClose, panel }) {
  const mark = markOf(tab);
  const title = harmless(tab.title, 80);
  return html`<div class=${classes("strip-tab", chosen && "is-chosen", mark && `strip-${mark}`)} role="presentation">
    <button
      id=${idOf(tab)}
      class="strip-name"
      type="button"
      role="tab"
      aria-selected=${chosen ? "true" : "false"}
      aria-controls=${chosen ? panel : undefined}
      tabindex=${chosen ? 0 : -1}
      title=${[tab.name, title, mark && MARKS[mark]].filter(Boolean).join("\n")}
      onClick=${() => go(tab)}
      onAuxClick=${(/** @type {MouseEvent} */ event) => event.button === 1 && onClose()}
    >
      ${mark === "bell" ? html`<${Icon} name="bell" size=${14} label=${MARKS.bell} />` : html`<span class="strip-dot"></span>`}
      <span class="strip-words">${title || tab.name}</span>
      ${mark && mark !== "bell" && html`<span class="hidden">${MARKS[mark]}</span>`}
    </button>
    <button class="strip-close" type="button" tabindex="-1" aria-hidden="true" title=${`Close ${tab.name}`} onClick=${onClose}>
      <${Icon} name="close" size=${14} />
    </button>
  </div>`;
}

/** @param {Tab} tab */
export function idOf(tab) {
  return `tab-${tab.key}`;
}

/** @param {Tab} tab @param {boolean} [stay] Keep the focus on the tabs. */
export function go(tab, stay = false) {
  navigate(tab.href, { keepScroll: true });
  if (stay) requestAnimationFrame(() => document.getElementById(idOf(tab))?.focus());
}
