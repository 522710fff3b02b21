/**
 * Lists of many rows, cut into pages by the server.
 *
 * Under 640 px a row becomes a card: the first column its heading, the others named lines. While the first page is
 * fetched, grey rows of the same height hold the place, so nothing jumps.
 */
import { html, classes } from "../html.js";
import { Button } from "./controls.js";
import { Icon } from "./icons.js";
import { ErrorState } from "./show.js";

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} key also the name it is sorted by
 * @property {string} label
 * @property {(row: Row) => import("../html.js").Children} cell
 * @property {boolean} [sort] can the server sort by it?
 * @property {"start" | "end"} [align]
 * @property {string} [width] a CSS width, for columns that should not breathe
 * @property {boolean} [actions] the last column with buttons: no heading, at the end, in the corner of a card
 * @property {boolean} [minor] hidden on phones
 */

/**
 * @template Row
 * @typedef {object} TableProps
 * @property {string} label what the table lists, for screen readers
 * @property {Column<Row>[]} columns
 * @property {Row[] | null} rows null while the first page is awaited
 * @property {(row: Row) => string} rowKey
 * @property {boolean} [loading] the rows shown are about to be replaced
 * @property {Error | null} [error]
 * @property {() => void} [onRetry]
 * @property {string} [sort] such as `hostname:asc`
 * @property {(sort: string) => void} [onSort]
 * @property {(row: Row) => void} [onRow] what a click on a row does, beside its links and buttons
 * @property {string} [chosen] the key of the row that is open beside the table
 * @property {import("../html.js").Children} [empty] an EmptyState
 * @property {number} [skeletonRows]
 */

/**
 * @template Row
 * @param {TableProps<Row>} props
 */
export function Table({
  label,
  columns,
  rows,
  rowKey,
  loading = false,
  error = null,
  onRetry,
  sort = "",
  onSort,
  onRow,
  chosen,
  empty,
  skeletonRows = 8,
}) {
  if (error && !rows?.length) return html`<${ErrorState} error=${error} onRetry=${onRetry} />`;
  if (rows && !rows.length && !loading) return html`<div class="table-empty">${empty}</div>`;
  const [sortKey = "", direction = "asc"] = sort.split(":");
  return html`<div class=${classes("table-frame", loading && Boolean(rows) && "is-stale")}>
    <table class="table" aria-label=${label} aria-busy=${loading ? "true" : "false"}>
      <thead>
        <tr>
          ${columns.map(
            (column) => html`<th
              key=${column.key}
              scope="col"
              class=${classes(column.align === "end" && "align-end", column.actions && "cell-actions")}
              style=${column.width ? { width: column.width } : undefined}
              aria-sort=${column.sort && column.key === sortKey ? (direction === "desc" ? "descending" : "ascending") : undefined}
            >
              ${column.sort && onSort
                ? html`<button
                    class=${classes("sort", column.key === sortKey && "is-sorted")}
                    type="button"
                    onClick=${() => onSort(`${column.key}:${column.key === sortKey && direction === "asc" ? "desc" : "asc"}`)}
                  >
                    ${column.label}<${Icon} name=${column.key === sortKey && direction === "desc" ? "chevronDown" : "chevronUp"} size=${14} />
                  </button>`
                : column.actions
                  ? html`<span class="hidden">${column.label}</span>`
                  : column.label}
            </th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${rows
          ? rows.map((row) => {
              const key = rowKey(row);
              return html`<tr
                key=${key}
                class=${classes(onRow && "can-open", chosen === key && "is-chosen")}
                onClick=${onRow && ((/** @type {MouseEvent} */ event) => isPlain(event) && onRow(row))}
              >
                ${columns.map((column) => cell(column, row))}
              </tr>`;
            })
          : Array.from({ length: skeletonRows }, (_row, index) => skeletonRow(columns, index))}
      </tbody>
    </table>
  </div>`;
}

/**
 * @template Row
 * @param {Column<Row>} column
 * @param {Row} row
 */
function cell(column, row) {
  return html`<td
    key=${column.key}
    data-label=${column.label}
    class=${classes(column.align === "end" && "align-end", column.actions && "cell-actions", column.minor && "cell-minor")}
  >
    ${column.cell(row)}
  </td>`;
}

/**
 * @template Row
 * @param {Column<Row>[]} columns
 * @param {number} index
 */
function skeletonRow(columns, index) {
  return html`<tr key=${`skeleton-${index}`} class="row-skeleton" aria-hidden="true">
    ${columns.map((column) => html`<td key=${column.key} class=${column.actions ? "cell-actions" : undefined}><span class="skeleton-bar"></span></td>`)}
  </tr>`;
}

/**
 * A click on the row itself: not on something in it that answers to clicks, and not the end of marking text.
 * @param {MouseEvent} event
 */
function isPlain(event) {
  const inside = event.target instanceof Element && event.target.closest("a, button, input, select, label, summary");
  return !inside && !getSelection()?.toString();
}

/**
 * Where one is in a list, and the ways on and back.
 * @param {{ paged: import("../load.js").Paged<any>, size: number, what?: string }} props `size` is the number of rows asked for
 */
export function Pager({ paged, size, what = "" }) {
  const { rows, page, total, hasNext, loading } = paged;
  if (!rows || (!rows.length && page === 1)) return html`<div class="pager"></div>`;
  const from = (page - 1) * size + 1;
  const to = from + rows.length - 1;
  const count = total === undefined ? `${from}–${to}` : `${from.toLocaleString()}–${to.toLocaleString()} of ${total.toLocaleString()}`;
  return html`<nav class="pager" aria-label="Pages">
    <span class="pager-count" aria-live="polite">${count}${what && ` ${what}`}</span>
    ${(page > 1 || hasNext) &&
    html`<span class="pager-buttons">
      <${Button} size="small" icon="chevronLeft" label="Previous page" disabled=${page === 1 || loading} onClick=${paged.previous} />
      <${Button} size="small" icon="chevronRight" label="Next page" disabled=${!hasNext || loading} onClick=${paged.next} />
    </span>`}
  </nav>`;
}
