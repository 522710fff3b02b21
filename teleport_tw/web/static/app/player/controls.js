/**
 * Below the picture: play, time, the line of time, speed, silences; and the keys that do the same.
 */
import { html, useEffect, useMemo } from "../html.js";
import { Button, Icon, Menu, Spinner, duration } from "../ui/index.js";
import { SPEEDS } from "./playback.js";
import { Timeline } from "./timeline.js";

const STEP_MS = 5000;

/**
 * @param {{
 *   playback: import("./playback.js").Playback, hits: { ms: number, line: string }[], lost: boolean, chosen: number,
 *   box: { current: HTMLElement | null }, onJump: (ms: number) => void
 * }} props
 */
export function Controls({ playback, hits, lost, chosen, box, onJump }) {
  const { facts, position, length, playing, following, speed, skipIdle } = playback;
  useEffect(() => {
    const keys = (/** @type {KeyboardEvent} */ event) => handle(event, playback, hits, box.current, onJump);
    document.addEventListener("keydown", keys);
    return () => document.removeEventListener("keydown", keys);
  }, [playback, hits]);
  const marks = useMemo(
    () => [
      ...facts.sizes.map(([ms, columns, rows]) => ({ ms, label: `${columns}×${rows}`, kind: /** @type {const} */ ("size") })),
      ...facts.events.map(({ ms, event, user }) => ({ ms, label: `${event} ${user ?? ""}`, kind: /** @type {const} */ ("event") })),
      ...hits.map(({ ms, line }) => ({ ms, label: line, kind: /** @type {const} */ ("hit") })),
    ],
    [facts, hits],
  );
  const state = lost ? "The connection was lost. It is being opened again." : playback.waiting ? "Loading" : "";
  return html`<div class="player-controls">
    <${Timeline} position=${position} length=${length} idle=${facts.idle} marks=${marks} chosen=${chosen} live=${following} onSeek=${(/** @type {number} */ ms) => playback.seek(ms)} />
    <div class="player-buttons">
      <${Button}
        kind="quiet"
        icon=${playing ? "pause" : playback.atEnd ? "refresh" : "play"}
        label=${playing ? "Pause (space)" : playback.atEnd ? "Play again (space)" : "Play (space)"}
        onClick=${() => playback.toggle()}
      />
      <span class="player-time"><span class="player-now">${duration(position / 1000)}</span> / ${duration(length / 1000)}</span>
      <span class="player-state" role="status">${state && html`<${Spinner} /><span class=${lost ? "" : "hidden"}>${state}</span>`}</span>
      <span class="player-spring"></span>
      ${playback.live &&
      html`<${Button} kind=${following ? "primary" : "plain"} size="small" aria-pressed=${following ? "true" : "false"} onClick=${() => playback.follow()}>
        <span class="badge-dot"></span>Live
      <//>`}
      <${Button}
        kind=${skipIdle ? "plain" : "quiet"}
        size="small"
        aria-pressed=${skipIdle ? "true" : "false"}
        disabled=${!facts.idle.length && !skipIdle}
        onClick=${() => playback.set({ skipIdle: !skipIdle })}
      >
        ${skipIdle && html`<${Icon} name="check" size=${16} />`}Skip silence
      <//>
      <${Menu}
        label="Speed"
        kind="quiet"
        size="small"
        up
        caret
        items=${SPEEDS.map((each) => ({ label: `${each}×`, icon: each === speed ? "check" : "minus", onSelect: () => playback.set({ speed: each }) }))}
      >${speed}×<span class="hidden"> speed</span><//>
      <${Button} kind="quiet" size="small" icon="fullscreen" label="Whole screen (f)" onClick=${() => whole(box.current)} />
    </div>
  </div>`;
}

/**
 * @param {KeyboardEvent} event
 * @param {import("./playback.js").Playback} playback
 * @param {{ ms: number }[]} hits
 * @param {HTMLElement | null} box
 * @param {(ms: number) => void} jump
 */
function handle(event, playback, hits, box, jump) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target instanceof Element ? event.target : null;
  if (target?.closest("input, textarea, select, dialog, [role=menu], [role=slider]") && event.key !== " ") return;
  if (event.key === " " && target?.closest("input, textarea, select, button, a, dialog, [role=menu]")) return;
  /** @type {Record<string, () => void>} */
  const does = {
    " ": () => playback.toggle(),
    k: () => playback.toggle(),
    ArrowLeft: () => playback.seek(playback.position - STEP_MS),
    ArrowRight: () => playback.seek(playback.position + STEP_MS),
    "<": () => playback.faster(-1),
    ">": () => playback.faster(1),
    s: () => playback.set({ skipIdle: !playback.skipIdle }),
    f: () => whole(box),
    n: () => next(playback, hits, 1, jump),
    N: () => next(playback, hits, -1, jump),
    "/": () => /** @type {HTMLElement | null} */ (document.querySelector(".player-search input"))?.focus(),
  };
  const act = does[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

/**
 * The next hit from here on, or the one before.
 * @param {import("./playback.js").Playback} playback
 * @param {{ ms: number }[]} hits
 * @param {1 | -1} way
 * @param {(ms: number) => void} jump
 */
export function next({ position }, hits, way, jump) {
  const times = [...new Set(hits.map(({ ms }) => ms))].sort((one, other) => one - other);
  const found = way > 0 ? times.find((ms) => ms > position + 1) : times.findLast((ms) => ms < position - 1);
  const wanted = found ?? (way > 0 ? times[0] : times.at(-1));
  if (wanted !== undefined) jump(wanted);
}

/** @param {HTMLElement | null} box */
function whole(box) {
  if (document.fullscreenElement) document.exitFullscreen();
  else box?.requestFullscreen?.().catch(() => {});
}
