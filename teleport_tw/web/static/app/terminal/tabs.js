/**
 * The terminals that are open in this window. They go on while another page is looked at; a reload finds them again, as
 * long as the proxy keeps them.
 */
import { bearer, renew, socketAddress } from "../api.js";
import { fill } from "../router.js";
import { createStore, session as signIn, theme } from "../state.js";
import { harmless } from "../text.js";
import { hostOf } from "../pages/resources/names.js";
import { Screen } from "./screen.js";
import { Session } from "./session.js";

const NODE_PATH = "/web/cluster/:site/console/node/:server/:login";
const SESSION_PATH = "/web/cluster/:site/console/session/:sid";
const STORED = "terminals";
/** What they showed as the page was left; taken away by who reads it. */
const SHOWN = "terminals-shown";
/** Characters of all pictures; browsers keep some millions for a page. */
const MOST_SHOWN = 1_500_000;

/**
 * @typedef {object} Target Where a terminal leads: to a server as an account, or into somebody's session.
 * @property {string} site
 * @property {string} [server] Id or name.
 * @property {string} [login]
 * @property {string} [sid]
 * @property {string} [mode]
 * @property {string} [host] The server's name for people, when it is known.
 * @property {string} [copy] Tells several terminals to the same target apart.
 */

/** @param {Target} target */
function keyOf({ server = "", login = "", sid = "", copy = "" }) {
  return sid ? `session/${sid}` : `node/${server}/${login}/${copy}`;
}

/** Its address among our pages. @param {Target} target */
export function hrefOf({ site, server = "", login = "", sid, mode, copy }) {
  const query = new URLSearchParams();
  if (mode) query.set("mode", mode);
  if (copy) query.set("copy", copy);
  const path = sid ? fill(SESSION_PATH, { site, sid }) : fill(NODE_PATH, { site, server, login });
  return query.size ? `${path}?${query}` : path;
}

/** One terminal and what its tab shows. */
export class Tab {
  /** @param {Target} target @param {{resume?: string, cols?: number, rows?: number, taken?: number}} [before] */
  constructor(target, before = {}) {
    /** @type {Target} */
    this.target = { ...target, host: target.host || hostOf(target.server ?? "") };
    this.key = keyOf(target);
    this.title = "";
    this.bell = false;
    this.active = false;
    /** Something new since it was last looked at. */
    this.news = false;
    this.begun = false;
    /** What waits for an answer of the person: a link to open, lines to paste. @type {{link?: string, paste?: string}} */
    this.asked = {};
    this.session = new Session((cols, rows) => this.#address(cols, rows), WAYS, before);
    this.screen = new Screen(this.session, {
      title: (title) => this.#set({ title }),
      bell: () => this.seen || this.#set({ bell: true }),
      output: () => this.seen || this.news || this.#set({ news: true }),
      pressed: changed,
      link: (link) => this.#set({ asked: { link } }),
      risky: (paste) => this.#set({ asked: { paste } }),
      key: (event) => shortcut(event),
    });
    this.session.listen(() => {
      if (this.session.state === "ended") this.screen.rest();
      changed();
    });
  }

  /** Who and where, before a program gives the terminal a title. */
  get name() {
    const { facts } = this.session;
    const login = facts?.login ?? this.target.login ?? "";
    const host = facts?.hostname || this.target.host || hostOf(this.target.server ?? "");
    const words = [login, host || (facts ? "" : "…")].filter(Boolean).join("@");
    return harmless(this.target.copy ? `${words} (${this.target.copy})` : words, 80);
  }

  /** Whether somebody can be looking at it. */
  get seen() {
    return this.active && !document.hidden;
  }

  get href() {
    return hrefOf(this.target);
  }

  begin() {
    if (this.begun) return;
    this.begun = true;
    this.session.start();
  }

  /** @param {{link?: string, paste?: string}} asked */
  ask(asked) {
    this.#set({ asked });
  }

  looked() {
    if (!this.bell && !this.news) return;
    this.#set({ bell: false, news: false });
  }

  /** @param {Partial<Pick<Tab, "title" | "bell" | "news" | "asked">>} change */
  #set(change) {
    Object.assign(this, change);
    changed();
  }

  /** @param {number} w @param {number} h */
  #address(w, h) {
    const { site, server, login, sid, mode } = this.target;
    const said = sid ? { sid, mode, term: { w, h } } : { server_id: server, login, term: { w, h } };
    return socketAddress(`/webapi/sites/${encodeURIComponent(site)}/connect/ws`, { params: JSON.stringify(said) });
  }
}

/** @type {import("./session.js").Ways} */
const WAYS = {
  open: (address) => new WebSocket(address),
  bearer,
  async renew() {
    if (!(await renew())) throw new Error("not signed in");
    return bearer();
  },
};

/** All tabs, in their order. @type {import("../state.js").Store<Tab[]>} */
export const tabs = createStore(/** @type {Tab[]} */ ([]));

let waiting = false;

/** Draw again, once for all that happens now. */
function changed() {
  if (waiting) return;
  waiting = true;
  queueMicrotask(() => {
    waiting = false;
    tabs.set([...tabs.get()]);
    keep();
  });
}

/** @param {Target} target @returns {Tab} The tab that leads there, made if there is none. */
export function tabTo(target) {
  restore();
  const known = tabs.get().find(({ key }) => key === keyOf(target));
  if (known) return known;
  const made = new Tab(target);
  tabs.set([...tabs.get(), made]);
  return made;
}

/** @param {Target} target @returns {string} The address of a terminal to it that no tab has yet. */
export function freshHref(target) {
  const taken = new Set(tabs.get().map(({ key }) => key));
  let copy = "";
  for (let count = 2; taken.has(keyOf({ ...target, copy })); count += 1) copy = String(count);
  return hrefOf({ ...target, copy });
}

/** Take away what ended well, once nobody looks at terminals any more. */
export function sweep() {
  setTimeout(() => {
    if (/\/console(\/|$)/.test(location.pathname)) return;
    for (const tab of tabs.get()) {
      const { state, ending } = tab.session;
      if (state === "ended" && !ending.undelivered) close(tab);
    }
  });
}

/** A new session in the place of one that ended. @param {Tab} tab */
export function again(tab) {
  const made = new Tab(tab.target);
  tab.screen.close();
  tabs.set(tabs.get().map((each) => (each === tab ? made : each)));
}

/** End a session and take its tab away. @param {Tab} tab @returns {Tab | undefined} The tab to look at next. */
export function close(tab) {
  const all = tabs.get();
  const at = all.indexOf(tab);
  tab.session.end();
  tab.screen.close();
  const left = all.filter((each) => each !== tab);
  tabs.set(left);
  keep();
  return left[Math.min(at, left.length - 1)];
}

/** What `shortcut` does with a key press of the console's own. @type {(event: KeyboardEvent) => boolean} */
let shortcut = () => false;

/** @param {(event: KeyboardEvent) => boolean} taken */
export function onShortcut(taken) {
  shortcut = taken;
}

/** Write down what a reload needs. */
function keep() {
  const live = tabs.get().filter(({ session }) => session.resume && session.state !== "ended");
  const said = live.map(({ target, title, session: { resume, cols, rows } }) => ({ target, title, resume, cols, rows }));
  try {
    sessionStorage.setItem(STORED, JSON.stringify(said));
  } catch {
    // Without storage a reload begins anew.
  }
}

/** Write down what is seen, so that a reload shows it again. */
function keepShown() {
  /** @type {Record<string, { picture: string, taken: number }>} */
  const shown = {};
  let room = MOST_SHOWN;
  for (const { session, screen } of tabs.get()) {
    if (!session.resume || session.state === "ended" || !session.known) continue;
    const picture = screen.picture();
    room -= picture.length;
    if (room > 0) shown[session.resume] = { picture, taken: session.outbox.shown };
  }
  try {
    sessionStorage.setItem(SHOWN, JSON.stringify(shown));
  } catch {
    // Without it a terminal is empty until something comes.
  }
}

/** @returns {Record<string, { picture: string, taken: number }>} By what resumes them. */
function takeShown() {
  const said = sessionStorage.getItem(SHOWN);
  sessionStorage.removeItem(SHOWN);
  return JSON.parse(said ?? "{}");
}

let restored = false;

/** Go on with what was open before a reload; once. */
export function restore() {
  if (restored) return;
  restored = true;
  try {
    const shown = takeShown();
    for (const { target, title, ...before } of JSON.parse(sessionStorage.getItem(STORED) ?? "[]")) {
      const { picture, taken } = shown[before.resume] ?? {};
      const tab = new Tab(target, { ...before, taken });
      if (picture) tab.screen.begin(picture);
      tab.title = String(title ?? "");
      tabs.set([...tabs.get(), tab]);
      tab.begin();
    }
  } catch {
    sessionStorage.removeItem(STORED);
  }
}

/** All of them. @param {(tab: Tab) => void} work */
function each(work) {
  for (const tab of tabs.get()) work(tab);
}

addEventListener("online", () => each(({ session }) => session.hurry()));
addEventListener("offline", () => each(({ session }) => session.hurry()));
document.addEventListener("visibilitychange", () => each((tab) => tab.seen && tab.looked()));
addEventListener("pagehide", () => {
  keepShown();
  each(({ session }) => session.leave());
});
theme.subscribe(() => each(({ screen }) => screen.recolour()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => each(({ screen }) => screen.recolour()));
signIn.subscribe(({ status }) => {
  if (status !== "out") return;
  each(({ session, screen }) => {
    session.end();
    screen.close();
  });
  tabs.set([]);
  keep();
});
