/**
 * From when to when: a few usual periods, or any.
 */
import { html, useState } from "../../html.js";
import { setQuery } from "../../router.js";
import { Button, Dialog, Field, Select } from "../../ui/index.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** @type {Record<string, { label: string, length: number }>} */
export const PRESETS = {
  "1h": { label: "Last hour", length: HOUR },
  "24h": { label: "Last 24 hours", length: DAY },
  "7d": { label: "Last 7 days", length: 7 * DAY },
  "30d": { label: "Last 30 days", length: 30 * DAY },
  "90d": { label: "Last 90 days", length: 90 * DAY },
  all: { label: "All time", length: 0 },
};

/**
 * @param {URLSearchParams} query Of the page's address.
 * @param {string} usual The preset when it says none.
 * @returns {{ preset: string, from: string, to: string, key: string }} Moments as RFC 3339, empty for no bound; the end of
 *   a preset is now, whenever it is asked for.
 */
export function periodOf(query, usual) {
  const from = moment(query.get("from"));
  const to = moment(query.get("to"));
  if (from || to) return { preset: "custom", from, to, key: `${from} ${to}` };
  const wanted = query.get("period") ?? usual;
  const preset = wanted in PRESETS ? wanted : usual;
  const { length } = /** @type {{ length: number }} */ (PRESETS[preset]);
  return { preset, from: length ? new Date(Date.now() - length).toISOString() : "", to: "", key: preset };
}

/** @param {string | null} text */
function moment(text) {
  const found = text ? new Date(text) : null;
  return found && !Number.isNaN(found.getTime()) ? found.toISOString() : "";
}

/** @param {{ period: ReturnType<typeof periodOf>, usual: string }} props */
export function Period({ period, usual }) {
  const [asking, setAsking] = useState(false);
  const options = Object.entries(PRESETS).map(([value, { label }]) => ({ value, label }));
  const custom = { value: "custom", label: period.preset === "custom" ? shown(period) : "Choose…" };
  const choose = (/** @type {string} */ value) => {
    if (value === "custom") setAsking(true);
    else setQuery({ period: value === usual ? null : value, from: null, to: null, at: null, page: null });
  };
  return html`<div class="period">
    <${Select} label="Period" hideLabel value=${period.preset} onChange=${choose} options=${[...options, custom]} />
    ${period.preset === "custom" && html`<${Button} kind="quiet" size="small" icon="edit" label="Change the period" onClick=${() => setAsking(true)} />`}
    ${asking && html`<${Custom} period=${period} onClose=${() => setAsking(false)} />`}
  </div>`;
}

/** @param {{ period: ReturnType<typeof periodOf>, onClose: () => void }} props */
function Custom({ period, onClose }) {
  const [from, setFrom] = useState(local(period.from || new Date(Date.now() - DAY).toISOString()));
  const [to, setTo] = useState(local(period.to));
  const wrong = from && to && to <= from ? "The end is before the beginning." : "";
  const go = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (wrong) return;
    setQuery({ period: null, from: moment(from) || null, to: moment(to) || null, at: null, page: null });
    onClose();
  };
  return html`<${Dialog} size="small" title="Choose a period" onClose=${onClose}>
    <form class="stack" onSubmit=${go}>
      <${Field} label="From" type="datetime-local" value=${from} onInput=${setFrom} step="1" autofocus />
      <${Field} label="To" type="datetime-local" value=${to} onInput=${setTo} step="1" optional error=${wrong} hint="In your own time zone; empty means until now." />
      <div class="form-foot">
        <${Button} onClick=${onClose}>Cancel<//>
        <${Button} kind="primary" type="submit" disabled=${Boolean(wrong) || (!from && !to)}>Show<//>
      </div>
    </form>
  <//>`;
}

/** A moment as the browser's own input has it. @param {string} text */
function local(text) {
  if (!text) return "";
  const found = new Date(text);
  return new Date(found.getTime() - found.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

const SHORT = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** @param {{ from: string, to: string }} period */
function shown({ from, to }) {
  const said = (/** @type {string} */ text) => SHORT.format(new Date(text));
  if (from && to) return `${said(from)} – ${said(to)}`;
  return from ? `Since ${said(from)}` : `Until ${said(to)}`;
}
