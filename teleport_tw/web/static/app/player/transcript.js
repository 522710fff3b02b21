/**
 * What was said to a database and what it answered, to be read.
 */
import { html, classes, useMemo, useState } from "../html.js";
import { harmless } from "../text.js";
import { EmptyState, SearchBox, Spinner, duration } from "../ui/index.js";

/** @typedef {{ ms: number, kind: "statement" | "answer" | "error" | "note", name: string, text: string }} Entry */

const MOST_SHOWN = 2000;
const LONGEST = 20_000;

/**
 * @param {{ ms: number, text: string }[]} pieces
 * @returns {Entry[]}
 */
export function entriesOf(pieces) {
  /** @type {Entry[]} */
  const entries = [];
  let rest = "";
  for (const { ms, text } of pieces) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) add(entries, ms, line);
  }
  if (rest) add(entries, pieces.at(-1)?.ms ?? 0, rest);
  return entries;
}

/** @param {Entry[]} entries @param {number} ms @param {string} line */
function add(entries, ms, line) {
  const [, name, statement] = /^([^\s=]*)=> (.*)$/.exec(line) ?? [];
  const before = entries.at(-1);
  if (statement !== undefined) entries.push({ ms, kind: "statement", name: name ?? "", text: statement });
  else if (line.startsWith("ERROR: ")) entries.push({ ms, kind: "error", name: "", text: line.slice(7) });
  else if (line.startsWith("-- ") && before?.kind !== "statement") entries.push({ ms, kind: "note", name: "", text: line.slice(3) });
  else if (before?.kind === "statement" && !isAnswer(line)) before.text += `\n${line}`;
  else entries.push({ ms, kind: "answer", name: "", text: line });
}

/** An answer ends with the time that it took, or is a command's tag. @param {string} line */
function isAnswer(line) {
  return /\(\d+(\.\d+)? ms\)$/.test(line) || /^[A-Z]{2,}( [A-Z]+)*( \d+)*$/.test(line);
}

/** @param {{ pieces: { ms: number, text: string }[], done: boolean, live: boolean }} props */
export function Transcript({ pieces, done, live }) {
  const [search, setSearch] = useState("");
  const entries = useMemo(() => entriesOf(pieces), [pieces, pieces.length]);
  const low = search.toLowerCase();
  const fit = search ? entries.filter((entry) => entry.text.toLowerCase().includes(low)) : entries;
  const shown = fit.slice(0, MOST_SHOWN);
  return html`<div class="transcript">
    <div class="toolbar">
      <${SearchBox} label="Search statements and answers" value=${search} onInput=${setSearch} />
      <span class="soft small" aria-live="polite">${search ? `${fit.length} of ${entries.length} lines` : ""}</span>
    </div>
    ${shown.length
      ? html`<ol class="transcript-list">
          ${shown.map(
            (entry, index) => html`<li key=${index} class=${classes("transcript-entry", `is-${entry.kind}`)}>
              <span class="transcript-time">${duration(entry.ms / 1000)}</span>
              <div class="transcript-words">
                ${entry.kind === "statement" && entry.name && html`<span class="transcript-name">${harmless(entry.name, 80)}</span>`}
                ${entry.kind === "error" && html`<span class="hidden">Error: </span>`}
                <${Marked} text=${shownText(entry.text)} search=${low} />
              </div>
            </li>`,
          )}
        </ol>`
      : done || search
        ? html`<${EmptyState} title=${search ? "Nothing fits" : "Nothing was asked"}>
            ${search ? "No line holds that text." : "The session ended before a statement reached the database."}
          <//>`
        : html`<div class="state"><${Spinner} large label="Loading" /></div>`}
    ${fit.length > shown.length && html`<p class="soft small after">${fit.length - shown.length} more lines: narrow the search, or download the recording.</p>`}
    ${live && html`<p class="soft small after row"><${Spinner} />The session goes on; what is asked appears here.</p>`}
  </div>`;
}

/** @param {string} text */
function shownText(text) {
  return text.split("\n").map((line) => harmless(line, LONGEST)).join("\n");
}

/** @param {{ text: string, search: string }} props */
function Marked({ text, search }) {
  if (!search) return html`<code>${text}</code>`;
  /** @type {import("../html.js").Children[]} */
  const parts = [];
  const low = text.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(search); at >= 0 && parts.length < 200; at = low.indexOf(search, from)) {
    parts.push(text.slice(from, at), html`<mark>${text.slice(at, at + search.length)}</mark>`);
    from = at + search.length;
  }
  return html`<code>${parts}${text.slice(from)}</code>`;
}
