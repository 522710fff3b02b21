/**
 * One recording: played on a line of time, searched, read; or a session that goes on, watched.
 */
import { bearer, renew, sentence, socketAddress } from "../api.js";
import { html, useEffect, useMemo, useReducer, useRef, useState } from "../html.js";
import { theme, useStore } from "../state.js";
import { stylesheet, linked } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Badge, Button, EmptyState, KeyValue, Loading, Menu, Notice, Page, duration, exactTime } from "../ui/index.js";
import { Controls } from "../player/controls.js";
import { FORMATS, downloadRecording } from "../player/download.js";
import { Playback } from "../player/playback.js";
import { Stream } from "../player/stream.js";
import { Transcript } from "../player/transcript.js";
import { Aside } from "../player/aside.js";

const DRAWN_MS = 100;

await Promise.all([stylesheet("player"), linked(new URL("../../vendor/xterm/xterm.css", import.meta.url).href)]);

/** @typedef {Record<string, any>} Start Of the recording, as the host wrote it. */

/** @param {{ params: { site: string, sid: string }, query: URLSearchParams }} props */
export default function Player({ params: { site, sid }, query }) {
  const [start, setStart] = useState(/** @type {Start | null} */ (null));
  const [problem, setProblem] = useState("");
  const [warning, setWarning] = useState("");
  const [lost, setLost] = useState(false);
  const [, redraw] = useReducer((/** @type {number} */ count) => count + 1, 0);
  const room = useRef(/** @type {HTMLDivElement | null} */ (null));
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const chosenTheme = useStore(theme);
  const made = useMemo(() => make(site, sid, Number(query.get("at")) || 0, { setStart, setProblem, setWarning, setLost, redraw }), [site, sid]);
  const { playback, stream } = made;

  useEffect(() => {
    made.begin();
    return () => made.close();
  }, [made]);
  const isDatabase = start?.proto === "db";
  useEffect(() => {
    if (!start || isDatabase || !room.current) return undefined;
    return made.draw(room.current);
  }, [made, Boolean(start), isDatabase]);
  useEffect(() => made.recolour(), [chosenTheme]);

  const { facts } = playback;
  const title = start ? titleOf(start) : "Recording";
  return html`<${Page}
    title=${title}
    crumbs=${[{ label: "Recordings", href: `/web/cluster/${encodeURIComponent(site)}/recordings` }]}
    lead=${!start
      ? html`<span class="row" aria-hidden="true">${"\u00a0"}</span>`
      : html`<span class="row">
          ${start.time && html`<span>${exactTime(start.time)}</span><span aria-hidden="true">·</span>`}
          <span>${duration(playback.length / 1000)}</span>
          ${playback.live && html`<${Badge} tone="good" dot>Goes on<//>`}
        </span>`}
    actions=${!start
      ? html`<${Button} disabled>Download<//>`
      : html`<${Menu}
          label="Download"
          kind="plain"
          caret
          items=${FORMATS.map(({ format, label, detail }) => ({ label, detail, icon: "download", onSelect: () => downloadRecording(site, sid, format) }))}
        >Download<//>`}
  >
    ${problem && html`<${EmptyState} icon="alert" title="This recording cannot be shown">${sentence(problem)}<//>`}
    ${!problem && !start && html`<${Loading} label="Fetching the recording" />`}
    ${warning && html`<${Notice} tone="warn">${warning}<//>`}
    ${!problem &&
    start &&
    html`<div class="player">
      ${isDatabase
        ? html`<${Transcript} pieces=${made.pieces} done=${playback.ended} live=${playback.live} />`
        : html`<div class="player-box" ref=${box}>
            <div class="player-room" ref=${room} role="group" tabindex="0" aria-label=${`The terminal at ${duration(playback.position / 1000)}`} onClick=${() => playback.toggle()}></div>
            <${Controls} playback=${playback} hits=${made.hits} lost=${lost} box=${box} onJump=${made.jump} chosen=${made.chosen} />
          </div>`}
      <${Aside} playback=${playback} stream=${stream} made=${made} searchable=${!isDatabase} redraw=${redraw}>
        <${KeyValue} facts=${factsOf(start, sid, facts)} />
      <//>
    </div>`}
  <//>`;
}

/** @param {Start} start */
function titleOf({ user, login, server_hostname: host, db_service: database }) {
  const who = harmless(user ?? "somebody", 80);
  if (database) return `${who} in ${harmless(database, 80)}`;
  return `${who} as ${harmless(login ?? "", 80)} on ${harmless(host ?? "a server", 80)}`;
}

/** @param {Start} start @param {string} sid @param {import("../player/stream.js").Facts} facts */
function factsOf(start, sid, facts) {
  const people = new Set([start.user, ...(Array.isArray(start.participants) ? start.participants : []), ...facts.events.map(({ user }) => user)].filter(Boolean));
  return [
    { label: "Took part", value: [...people].map((name) => harmless(name, 80)).join(", ") },
    { label: "Account", value: harmless(start.login ?? start.db_user, 80) },
    { label: start.db_service ? "Database" : "Server", value: harmless(start.server_hostname ?? [start.db_service, start.db_name].filter(Boolean).join(" / "), 120) },
    { label: "Began", value: start.time ? exactTime(start.time) : "" },
    { label: "From", value: harmless(start["addr.remote"] ?? "", 80) },
    { label: "Command", value: Array.isArray(start.initial_command) && start.initial_command.length ? html`<code>${harmless(start.initial_command.join(" "), 400)}</code>` : "" },
    { label: "Session", value: html`<code class="small">${sid}</code>` },
  ];
}

/**
 * What outlives a drawing of the page.
 * @param {string} site
 * @param {string} sid
 * @param {number} at Where to begin.
 * @param {{ setStart: (start: Start) => void, setProblem: (text: string) => void, setWarning: (text: string) => void, setLost: (lost: boolean) => void, redraw: (action: any) => void }} tell
 */
function make(site, sid, at, tell) {
  /** @type {import("../player/screen.js").Picture | null} */
  let picture = null;
  let closed = false;
  let first = true;
  let judged = false;
  let tickedAt = 0;
  let drawnAt = 0;
  let frame = 0;
  const words = new TextDecoder();

  const stream = new Stream(
    {
      open: () => new WebSocket(socketAddress(`/webapi/sites/${encodeURIComponent(site)}/ttyplayback/${encodeURIComponent(sid)}`)),
      bearer,
      renew,
    },
    {
      session: (session, size) => {
        playback.size = size;
        made.start = session;
        tell.setStart(session);
        if (session.proto === "db") {
          made.pieces = [];
          made.ready = true;
          playback.written = 0;
          playback.follow();
        } else if (made.ready) playback.again();
      },
      facts: (facts) => {
        playback.learn(facts);
        // Whether it goes on is told a moment after who it is.
        if (!judged && !facts.complete && !at && picture) playback.follow();
        judged = true;
      },
      item: (item) => playback.take(item),
      end: () => playback.end(),
      opened: () => {},
      lost: tell.setLost,
      failed: tell.setProblem,
      warned: tell.setWarning,
    },
  );
  const playback = new Playback(stream, {
    reset: () => picture?.reset(),
    resize: (columns, rows) => picture?.resize(columns, rows),
    keep: () => picture?.keep() ?? null,
    restore: (state) => picture?.restore(state),
    write: (bytes, done) => {
      if (picture) picture.write(bytes, done);
      else {
        made.pieces = [...made.pieces, { ms: playback.length, text: words.decode(bytes, { stream: true }) }];
        done();
      }
    },
  });
  playback.position = at;
  playback.listen(() => {
    const now = performance.now();
    if (now - drawnAt < DRAWN_MS && playback.playing && !playback.atEnd) return;
    drawnAt = now;
    tell.redraw(0);
  });

  const tick = (/** @type {number} */ now) => {
    if (closed) return;
    playback.tick(tickedAt ? now - tickedAt : 0);
    tickedAt = now;
    frame = requestAnimationFrame(tick);
  };

  const made = {
    playback,
    stream,
    /** @type {Start | null} */
    start: null,
    ready: false,
    /** @type {{ ms: number, text: string }[]} */
    pieces: [],
    /** @type {{ ms: number, line: string }[]} */
    hits: [],
    searched: "",
    /** The time of the hit that was jumped to; −1, none. */
    chosen: -1,
    begin() {
      closed = false;
      stream.over = false;
      stream.start();
    },
    close() {
      closed = true;
      cancelAnimationFrame(frame);
      stream.close();
    },
    recolour() {
      picture?.recolour();
    },
    /** A hit is what stands on the screen a moment after it was written. @param {number} ms */
    jump(ms) {
      made.chosen = ms;
      playback.seek(ms);
      setTimeout(() => picture?.mark(made.searched), 150);
    },
    /** @param {string} text */
    mark(text) {
      made.searched = text;
      picture?.mark(text);
    },
    /** Show it in an element. @param {HTMLElement} parent @returns {() => void} */
    draw(parent) {
      let gone = false;
      import("../player/screen.js").then(({ Picture }) => {
        if (gone) return;
        picture = new Picture();
        picture.show(parent);
        made.ready = true;
        if (first && playback.live && !at) playback.follow();
        else {
          playback.anew();
          if (first) playback.toggle(true);
        }
        first = false;
        frame = requestAnimationFrame(tick);
      });
      return () => {
        gone = true;
        cancelAnimationFrame(frame);
        picture?.close();
        picture = null;
      };
    },
  };
  return made;
}

/** @typedef {ReturnType<typeof make>} Made */
