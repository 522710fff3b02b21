/**
 * Beside the picture: what is searched for and found, who came and went, and the facts.
 */
import { html, classes, useEffect, useState } from "../html.js";
import { useSettled } from "../load.js";
import { harmless } from "../text.js";
import { Button, SearchBox, duration } from "../ui/index.js";
import { next } from "./controls.js";

/** @type {Record<string, string>} */
const HAPPENED = { "session.join": "joined", "session.leave": "left", "session.end": "ended the session" };

/**
 * @param {{
 *   playback: import("./playback.js").Playback, stream: import("./stream.js").Stream, made: import("../pages/player.js").Made,
 *   searchable: boolean, redraw: (action: any) => void, children?: import("../html.js").Children
 * }} props
 */
export function Aside({ playback, stream, made, searchable, redraw, children }) {
  const { events } = playback.facts;
  return html`<aside class="player-aside" aria-label="About this recording">
    ${searchable && html`<${Search} playback=${playback} stream=${stream} made=${made} redraw=${redraw} />`}
    ${events.length > 0 &&
    html`<section class="player-part">
      <h2>Who came and went</h2>
      <ul class="player-list">
        ${events.map(
          ({ ms, event, user }, index) => html`<li key=${index}>
            <button type="button" class="player-hit" onClick=${() => playback.seek(ms)}>
              <span class="transcript-time">${duration(ms / 1000)}</span>
              <span>${harmless(user ?? "", 80)} ${HAPPENED[event] ?? harmless(event, 80)}</span>
            </button>
          </li>`,
        )}
      </ul>
    </section>`}
    <section class="player-part"><h2>About</h2>${children}</section>
  </aside>`;
}

/** @param {{ playback: import("./playback.js").Playback, stream: import("./stream.js").Stream, made: import("../pages/player.js").Made, redraw: (action: any) => void }} props */
function Search({ playback, stream, made, redraw }) {
  const [typed, setTyped] = useState(() => new URLSearchParams(location.search).get("find") ?? "");
  const text = useSettled(typed.trim(), 300);
  const [more, setMore] = useState(false);
  const [busy, setBusy] = useState(false);
  const { length, ended } = playback;
  useEffect(() => {
    let gone = false;
    const tell = (/** @type {{ ms: number, line: string }[]} */ hits, /** @type {boolean} */ most) => {
      made.hits = hits;
      made.mark(text);
      setMore(most);
      setBusy(false);
      redraw(0);
    };
    if (!text) {
      tell([], false);
      return undefined;
    }
    setBusy(true);
    stream.search(text).then((found) => gone || tell(found.hits, found.more));
    return () => {
      gone = true;
    };
  }, [text, playback.live ? 0 : length, ended]);
  const { hits } = made;
  return html`<section class="player-part">
    <div class="player-search row">
      <${SearchBox}
        label="Search in this recording"
        value=${typed}
        busy=${busy}
        onInput=${setTyped}
        onKeyPress=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && next(playback, hits, event.shiftKey ? -1 : 1, made.jump)}
      />
      ${hits.length > 0 &&
      html`<span class="row player-steps">
        <${Button} kind="quiet" size="small" icon="chevronUp" label="Hit before (N)" onClick=${() => next(playback, hits, -1, made.jump)} />
        <${Button} kind="quiet" size="small" icon="chevronDown" label="Next hit (n)" onClick=${() => next(playback, hits, 1, made.jump)} />
      </span>`}
    </div>
    ${text &&
    !busy &&
    html`<p class="soft small" role="status">${hits.length ? `${more ? "More than " : ""}${hits.length} ${hits.length === 1 ? "line" : "lines"}` : "Not in this recording"}</p>`}
    ${text &&
    hits.length > 0 &&
    html`<ul class="player-list player-hits">
      ${hits.slice(0, 200).map(
        ({ ms, line }, index) => html`<li key=${index}>
          <button type="button" class=${classes("player-hit", ms === made.chosen && "is-chosen")} onClick=${() => made.jump(ms)}>
            <span class="transcript-time">${duration(ms / 1000)}</span>
            <code class="cut">${harmless(line.trim(), 200)}</code>
          </button>
        </li>`,
      )}
    </ul>`}
  </section>`;
}
