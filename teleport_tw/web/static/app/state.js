/**
 * What all pages share: who is signed in, whether the proxy answers, the theme, the notes in the corner.
 *
 * A store is a value with listeners. Components read it with `useStore`, everything else with `get`.
 */
import { useEffect, useState } from "./html.js";

/**
 * @template T
 * @typedef {{ get(): T, set(value: T): void, update(change: Partial<T>): void, subscribe(listener: (value: T) => void): () => void }} Store
 */

/**
 * @template T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let value = initial;
  /** @type {Set<(value: T) => void>} */
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    update(change) {
      this.set({ ...value, ...change });
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * The store's value; the component is drawn again when it changes.
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
export function useStore(store) {
  const [value, setValue] = useState(store.get());
  useEffect(() => {
    setValue(store.get());
    return store.subscribe((next) => setValue(next));
  }, [store]);
  return value;
}

/**
 * Rights on one kind of resource.
 * @typedef {{ list?: boolean, read?: boolean, edit?: boolean, create?: boolean, remove?: boolean }} Access
 *
 * Who is signed in, as `GET /webapi/sites/:site/context` tells it.
 * @typedef {object} UserContext
 * @property {string} userName
 * @property {string[]} roles
 * @property {Record<string, string[]>} traits
 * @property {{ clusterId: string, publicURL?: string, authVersion?: string, [key: string]: any }} cluster
 * @property {Record<string, Access>} acl
 * @property {string} [passwordState]
 * @property {string} [sessionExpires]
 *
 * @typedef {{ status: "unknown" | "in" | "out", context: UserContext | null }} Session
 */

/** @type {Store<Session>} */
export const session = createStore(/** @type {Session} */ ({ status: "unknown", context: null }));

/**
 * May the signed-in user do this with that kind? Only for what to show: the server decides.
 * @param {string} kind such as `user`, `role`, `token`, `lock`, `event`, `session`
 * @param {keyof Access} verb
 * @returns {boolean}
 */
export function may(kind, verb) {
  const { context } = session.get();
  return Boolean(context?.acl?.[kind]?.[verb]);
}

/**
 * Does the proxy answer? `away` while it does not; requests that only read are repeated when it is back.
 * @type {Store<"here" | "away">}
 */
export const connection = createStore(/** @type {"here" | "away"} */ ("here"));

/**
 * Name and password of an account that was set up a moment ago, so that only the second step is asked for. Kept in this
 * page's memory alone, and taken once.
 * @type {{ user: string, password: string, kind: string } | null}
 */
let fresh = null;

/** @param {{ user: string, password: string, kind: string }} account `kind` of the second factor */
export function handOver(account) {
  fresh = account;
}

/** @returns {{ user: string, password: string, kind: string } | null} */
export function takeOver() {
  const taken = fresh;
  fresh = null;
  return taken;
}

/** @typedef {"system" | "light" | "dark"} Theme */

/** @returns {Theme} */
function storedTheme() {
  const stored = remember("theme");
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** @type {Store<Theme>} */
export const theme = createStore(storedTheme());
theme.subscribe((chosen) => {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  remember("theme", chosen === "system" ? null : chosen);
});

/**
 * Reads or writes a small thing that outlives the tab. Private windows may refuse; then nothing is remembered.
 * @param {string} key
 * @param {string | null} [value] `null` forgets
 * @returns {string | null}
 */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @typedef {{ id: number, tone: "good" | "bad" | "plain", text: string }} Note
 * @type {Store<Note[]>}
 */
export const notes = createStore(/** @type {Note[]} */ ([]));
let noteCount = 0;

/**
 * Says something in the corner for some seconds; bad news stays until closed.
 * @param {string} text
 * @param {"good" | "bad" | "plain"} [tone]
 */
export function toast(text, tone = "good") {
  const note = { id: ++noteCount, tone, text };
  notes.set([...notes.get().slice(-3), note]);
  if (tone !== "bad") setTimeout(() => dismiss(note.id), 5000);
}

/** @param {number} id */
export function dismiss(id) {
  notes.set(notes.get().filter((note) => note.id !== id));
}
