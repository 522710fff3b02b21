/**
 * Lists that come whole: searched, sorted and cut into pages here, with their place in the page's address.
 */
import { setQuery } from "../../router.js";

export const SIZE = 25;

/**
 * @template Row
 * @param {import("../../load.js").Loaded<Row[]>} loaded
 * @param {URLSearchParams} query Of the address: `search`, `sort` and `page` are ours.
 * @param {{ words: (row: Row) => unknown[], sorts: Record<string, (row: Row) => string | number>, sort: string }} how
 *   `words` is what is searched in; `sort` what it is sorted by when nobody says.
 * @returns {import("../../load.js").Paged<Row> & { search: string, sort: string, all: Row[] | null }}
 */
export function listed(loaded, query, { words, sorts, sort: usual }) {
  const search = query.get("search") ?? "";
  const sort = query.get("sort") ?? usual;
  const [key = "", direction = "asc"] = sort.split(":");
  const by = sorts[key];
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  const fit = loaded.data?.filter((row) => {
    const text = words(row).flat().join("\n").toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
  if (by && fit) {
    const sign = direction === "desc" ? -1 : 1;
    fit.sort((one, other) => sign * compared(by(one), by(other)));
  }
  const total = fit?.length ?? 0;
  const last = Math.max(1, Math.ceil(total / SIZE));
  const page = Math.min(last, Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1));
  const go = (/** @type {number} */ number) => setQuery({ page: number > 1 ? String(number) : null }, { replace: false });
  return {
    all: loaded.data,
    search,
    sort,
    rows: fit ? fit.slice((page - 1) * SIZE, page * SIZE) : null,
    error: loaded.error,
    loading: loaded.loading && !loaded.data,
    page,
    total,
    hasNext: page < last,
    next: () => page < last && go(page + 1),
    previous: () => page > 1 && go(page - 1),
    reload: loaded.reload,
  };
}

/** @param {string | number} one @param {string | number} other */
function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}
