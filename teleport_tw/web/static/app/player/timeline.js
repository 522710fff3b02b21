/**
 * The line of time: where one is, what happened when, and the way to anywhere by pointer or keys.
 */
import { html, classes, useRef, useState } from "../html.js";
import { duration } from "../ui/index.js";

const STEP_MS = 5000;
const SEEK_PAUSE_MS = 150;

/**
 * @typedef {{ ms: number, label: string, kind: "hit" | "event" | "size" }} Mark
 */

/**
 * @param {{ position: number, length: number, idle: [number, number][], marks: Mark[], chosen?: number, live: boolean, onSeek: (ms: number) => void }} props
 *   `chosen` is the time of the mark that was jumped to
 */
export function Timeline({ position, length, idle, marks, chosen, live, onSeek }) {
  const line = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [drag, setDrag] = useState(/** @type {number | null} */ (null));
  const [hover, setHover] = useState(/** @type {number | null} */ (null));
  const last = useRef(0);
  const whole = Math.max(1, length);
  const at = drag ?? position;
  const timeAt = (/** @type {PointerEvent} */ event) => {
    const box = line.current?.getBoundingClientRect();
    if (!box?.width) return 0;
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * whole;
  };
  const move = (/** @type {PointerEvent} */ event) => {
    const time = timeAt(event);
    setHover(time);
    if (drag === null) return;
    setDrag(time);
    const now = performance.now();
    if (now - last.current > SEEK_PAUSE_MS) {
      last.current = now;
      onSeek(time);
    }
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    /** @type {Record<string, number>} */
    const moves = {
      ArrowLeft: position - STEP_MS,
      ArrowDown: position - STEP_MS,
      ArrowRight: position + STEP_MS,
      ArrowUp: position + STEP_MS,
      PageDown: position - whole / 10,
      PageUp: position + whole / 10,
      Home: 0,
      End: whole,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    onSeek(moves[event.key] ?? 0);
  };
  const share = (/** @type {number} */ ms) => `${Math.min(100, (ms / whole) * 100)}%`;
  return html`<div
    ref=${line}
    class=${classes("timeline", drag !== null && "is-dragged")}
    role="slider"
    tabindex="0"
    aria-label="Place in the recording"
    aria-valuemin="0"
    aria-valuemax=${Math.round(whole / 1000)}
    aria-valuenow=${Math.round(at / 1000)}
    aria-valuetext=${`${duration(at / 1000)} of ${duration(length / 1000)}`}
    onKeyDown=${keys}
    onPointerDown=${(/** @type {PointerEvent} */ event) => {
      if (event.button !== 0) return;
      line.current?.setPointerCapture(event.pointerId);
      setDrag(timeAt(event));
    }}
    onPointerMove=${move}
    onPointerUp=${(/** @type {PointerEvent} */ event) => {
      if (drag === null) return;
      setDrag(null);
      onSeek(timeAt(event));
    }}
    onPointerCancel=${() => setDrag(null)}
    onPointerLeave=${() => setHover(null)}
  >
    <div class="timeline-rail">
      ${idle.map(([from, to]) => html`<span key=${from} class="timeline-idle" style=${{ left: share(from), width: share(to - from) }}></span>`)}
      <span class=${classes("timeline-done", live && "is-live")} style=${{ width: share(at) }}></span>
    </div>
    ${marks.map(
      (mark) => html`<span
        key=${`${mark.kind}${mark.ms}`}
        class=${classes("timeline-mark", `is-${mark.kind}`, mark.kind === "hit" && mark.ms === chosen && "is-chosen")}
        style=${{ left: share(mark.ms) }}
        title=${mark.label}
      ></span>`,
    )}
    <span class="timeline-knob" style=${{ left: share(at) }}></span>
    ${hover !== null && html`<span class="timeline-tip" style=${{ left: share(hover) }}>${duration(hover / 1000)}</span>`}
  </div>`;
}
