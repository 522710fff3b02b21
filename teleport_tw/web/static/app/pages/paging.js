/**
 * A list whose place is in the page's address: a reload, a link sent to a colleague and the browser's own way back all
 * show the same rows.
 */
import { navigate } from "../router.js";
import { useLoad } from "../load.js";

/** The key that led to a page, by the key of the page it led to. @type {Map<string, string>} */
const before = new Map();

/**
 * @template T
 * @param {(startKey: string, signal: AbortSignal) => Promise<import("../load.js").Page<T>>} load
 * @param {URLSearchParams} query Of the address; `at` and `page` are ours.
 * @param {ReadonlyArray<unknown>} deps What the list depends on beside its place.
 * @returns {import("../load.js").Paged<T>}
 */
export function useAddressed(load, query, deps) {
  const at = query.get("at") ?? "";
  const page = at ? Math.max(2, Number.parseInt(query.get("page") ?? "2", 10) || 2) : 1;
  const of = JSON.stringify(deps);
  const loaded = useLoad(async (signal) => ({ of, ...(await load(at, signal)) }), [of, at]);
  // Rows of another question stay while the next are on their way, and not where those cannot be had.
  const stale = loaded.error !== null && loaded.data?.of !== of;
  const nextKey = loaded.data?.startKey ?? "";
  const go = (/** @type {string} */ key, /** @type {number} */ number) => {
    const changed = new URLSearchParams(location.search);
    changed.delete("at");
    changed.delete("page");
    if (key) {
      changed.set("at", key);
      changed.set("page", String(number));
    }
    navigate(changed.size ? `${location.pathname}?${changed}` : location.pathname);
  };
  return {
    rows: stale ? null : (loaded.data?.items ?? null),
    error: loaded.error,
    loading: loaded.loading,
    page,
    total: loaded.data?.totalCount,
    hasNext: Boolean(nextKey),
    next: () => {
      if (!nextKey || loaded.loading) return;
      before.set(of + nextKey, at);
      go(nextKey, page + 1);
    },
    previous: () => {
      const key = before.get(of + at) ?? "";
      if (at && !loaded.loading) go(key, key ? page - 1 : 1);
    },
    reload: loaded.reload,
  };
}
