/**
 * What shows things: badges, facts, times, code, and the states of a page that has nothing to show.
 */
import { html, classes, useEffect, useState } from "../html.js";
import { toast } from "../state.js";
import { Button, Spinner } from "./controls.js";
import { Icon } from "./icons.js";

/** @typedef {import("../html.js").Children} Children */

/**
 * A word on a coloured ground.
 * @param {{ tone?: "plain" | "good" | "warn" | "bad" | "accent", dot?: boolean, children?: Children, [key: string]: any }} props
 */
export function Badge({ tone = "plain", dot = false, children, ...rest }) {
  return html`<span class=${`badge badge-${tone}`} ...${rest}>${dot && html`<span class="badge-dot"></span>`}${children}</span>`;
}

/**
 * A label `name: value`; a button when it can be clicked to filter.
 * @param {{ name: string, value: string, onClick?: () => void }} props
 */
export function Label({ name, value, onClick }) {
  const text = value === "" ? name : `${name}: ${value}`;
  return onClick
    ? html`<button class="label label-button" type="button" title=${`Show only ${text}`} onClick=${onClick}>${text}</button>`
    : html`<span class="label" title=${text}>${text}</span>`;
}

/**
 * Nothing here, and what to do about it.
 * @param {{ icon?: string, title: string, children?: Children, action?: Children }} props
 */
export function EmptyState({ icon = "search", title, children, action }) {
  return html`<div class="state">
    <span class="state-sign"><${Icon} name=${icon} size=${28} /></span>
    <h2 class="state-title">${title}</h2>
    ${children && html`<div class="state-text">${children}</div>`}
    ${action && html`<div class="state-action">${action}</div>`}
  </div>`;
}

/**
 * It did not work, why, and a way to try again.
 * @param {{ error: Error | string, onRetry?: () => void, title?: string, retry?: string }} props
 */
export function ErrorState({ error, onRetry, title = "That did not work", retry = "Try again" }) {
  return html`<div class="state state-bad" role="alert">
    <span class="state-sign"><${Icon} name="alert" size=${28} /></span>
    <h2 class="state-title">${title}</h2>
    <p class="state-text">${typeof error === "string" ? error : error.message}</p>
    ${onRetry && html`<div class="state-action"><${Button} icon="refresh" onClick=${onRetry}>${retry}<//></div>`}
  </div>`;
}

/**
 * A note in the page.
 * @param {{ tone?: "plain" | "good" | "warn" | "bad", children?: Children, title?: string, live?: boolean }} props
 *   `live` makes screen readers say it when it appears
 */
export function Notice({ tone = "plain", title, children, live = tone === "bad" }) {
  const icon = { plain: "info", good: "check", warn: "alert", bad: "alert" }[tone];
  return html`<div class=${`notice notice-${tone}`} role=${live ? "alert" : undefined}>
    <${Icon} name=${icon} size=${18} />
    <div>${title && html`<strong>${title}</strong>`}<div>${children}</div></div>
  </div>`;
}

/**
 * A page that is being fetched.
 * @param {{ label?: string }} props
 */
export function Loading({ label = "Loading" }) {
  return html`<div class="state"><${Spinner} large label=${label} /></div>`;
}

/**
 * Grey bars of the height that text will have.
 * @param {{ lines?: number }} props
 */
export function Skeleton({ lines = 3 }) {
  return html`<div class="skeleton" aria-hidden="true">
    ${Array.from({ length: lines }, (_one, index) => html`<span key=${index} class="skeleton-bar"></span>`)}
  </div>`;
}

/**
 * Commands and other text to be copied; the button copies all of it.
 * @param {{ text: string, label?: string, wrap?: boolean }} props
 */
export function CodeBlock({ text, label = "Copy", wrap = true }) {
  return html`<div class="code">
    <pre class=${classes("code-text", wrap && "code-wrap")} tabindex="0"><code>${text}</code></pre>
    <${CopyButton} text=${text} label=${label} />
  </div>`;
}

/**
 * Copies; says so on its own face.
 * @param {{ text: string, label?: string, plain?: boolean }} props `plain` shows the label, as other buttons do
 */
export function CopyButton({ text, label = "Copy", plain = false }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1600);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
    } catch {
      toast("The browser did not let this page copy. Select the text and copy it by hand.", "bad");
    }
  };
  if (plain) return html`<${Button} size="small" icon=${done ? "check" : "copy"} onClick=${copy}>${done ? "Copied" : label}<//>`;
  return html`<${Button}
    class="copy"
    kind="quiet"
    size="small"
    icon=${done ? "check" : "copy"}
    label=${done ? "Copied" : label}
    onClick=${copy}
  />`;
}

/**
 * Facts about one thing.
 * @param {{ facts: { label: string, value: Children }[] }} props what is null or empty is left out
 */
export function KeyValue({ facts }) {
  return html`<dl class="facts">
    ${facts
      .filter(({ value }) => value !== null && value !== undefined && value !== "")
      .map(({ label, value }) => html`<div key=${label} class="fact"><dt>${label}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

const STEPS = /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
]);
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/**
 * @param {Date} moment
 * @param {number} [now] milliseconds
 * @returns {string} such as “3 minutes ago”
 */
export function ago(moment, now = Date.now()) {
  const seconds = Math.round((moment.getTime() - now) / 1000);
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return Math.abs(seconds) < 10 ? "just now" : relative.format(seconds, "second");
}

/**
 * A moment as people say it; the exact one on hover. It counts on by itself.
 * @param {{ time: string | number | Date | null | undefined, never?: string }} props
 */
export function Timeago({ time, never = "never" }) {
  const [, setRound] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setRound((round) => round + 1), 20_000);
    return () => clearInterval(timer);
  }, []);
  const moment = time ? new Date(time) : null;
  if (!moment || Number.isNaN(moment.getTime()) || moment.getTime() <= 0) return html`<span class="soft">${never}</span>`;
  return html`<time class="time" datetime=${moment.toISOString()} title=${absolute.format(moment)}>${ago(moment)}</time>`;
}

/**
 * @param {string | number | Date} time
 * @returns {string} date and time to the second, in the reader's zone
 */
export function exactTime(time) {
  const moment = new Date(time);
  return Number.isNaN(moment.getTime()) ? "" : absolute.format(moment);
}

/**
 * @param {number} seconds
 * @returns {string} such as `4:07` or `1:02:33`
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * @param {number} bytes
 * @returns {string} such as `12.4 MB`
 */
export function bytes(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = -1;
  while (value >= 1000 && unit < 3) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${["kB", "MB", "GB", "TB"][unit]}`;
}
