/**
 * Hooks that fetch: one answer, or a list by pages. They drop answers nobody waits for any more, keep what is shown while
 * the next is on its way, and ask again by themselves when the proxy was away.
 */
import { useCallback, useEffect, useRef, useState } from "./html.js";
import { connection } from "./state.js";
import { ApiError } from "./api.js";

/**
 * @template T
 * @typedef {{ data: T | null, error: ApiError | null, loading: boolean, reload: () => void, set: (data: T) => void }} Loaded
 */

/**
 * Fetches when the component appears and whenever `deps` change.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {ReadonlyArray<unknown>} deps
 * @returns {Loaded<T>}
 */
export function useLoad(load, deps) {
  const [state, setState] = useState(
    /** @type {{ data: T | null, error: ApiError | null, loading: boolean }} */ ({ data: null, error: null, loading: true }),
  );
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const stop = new AbortController();
    setState((old) => ({ ...old, loading: true }));
    latest
      .current(stop.signal)
      .then((data) => {
        if (!stop.signal.aborted) setState({ data, error: null, loading: false });
      })
      .catch((error) => {
        if (stop.signal.aborted) return;
        const known = error instanceof ApiError ? error : new ApiError(500, "Something went wrong on this page.");
        if (known !== error) console.error(error);
        setState((old) => ({ ...old, error: known, loading: false }));
      });
    return () => stop.abort();
  }, [...deps, round]);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  useEffect(() => connection.subscribe((now) => now === "here" && reload()), []);
  const set = useCallback((/** @type {T} */ data) => setState({ data, error: null, loading: false }), []);
  return { ...state, reload, set };
}

/**
 * @template T
 * @typedef {{ items: T[], startKey?: string, totalCount?: number }} Page
 */

/**
 * @template T
 * @typedef {object} Paged
 * @property {T[] | null} rows null until the first page is there
 * @property {ApiError | null} error
 * @property {boolean} loading
 * @property {number} page from 1
 * @property {number | undefined} total when the server counts
 * @property {boolean} hasNext
 * @property {() => void} next
 * @property {() => void} previous
 * @property {() => void} reload
 */

/**
 * A list that the server cuts into pages. `deps` are what the list depends on (search, sort, filters): when one
 * changes, it starts at the first page again.
 * @template T
 * @param {(startKey: string, signal: AbortSignal) => Promise<Page<T>>} load
 * @param {ReadonlyArray<unknown>} deps
 * @returns {Paged<T>}
 */
export function usePaged(load, deps) {
  const [keys, setKeys] = useState(/** @type {{ of: string, stack: string[] }} */ ({ of: "", stack: [""] }));
  const of = JSON.stringify(deps);
  const stack = keys.of === of ? keys.stack : [""];
  const startKey = stack[stack.length - 1] ?? "";
  const loaded = useLoad((signal) => load(startKey, signal), [of, startKey]);
  const nextKey = loaded.data?.startKey ?? "";
  return {
    rows: loaded.data?.items ?? null,
    error: loaded.error,
    loading: loaded.loading,
    page: stack.length,
    total: loaded.data?.totalCount,
    hasNext: Boolean(nextKey),
    next: () => nextKey && !loaded.loading && setKeys({ of, stack: [...stack, nextKey] }),
    previous: () => stack.length > 1 && !loaded.loading && setKeys({ of, stack: stack.slice(0, -1) }),
    reload: loaded.reload,
  };
}

/**
 * The value as it was once it has not changed for `pause` milliseconds: what people type, before it is asked for.
 * @template T
 * @param {T} value
 * @param {number} [pause]
 * @returns {T}
 */
export function useSettled(value, pause = 200) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), pause);
    return () => clearTimeout(timer);
  }, [value, pause]);
  return settled;
}
