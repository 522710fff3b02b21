/**
 * One event, all of it.
 */
import { html, useEffect, useRef } from "../../html.js";
import { harmless } from "../../text.js";
import { Badge, Button, CopyButton, exactTime } from "../../ui/index.js";
import { playerHref } from "../recordings.js";
import { failed, worded } from "./words.js";

/** @typedef {import("./words.js").Event} Event */

/**
 * Keys go on in it as soon as it opens; Escape closes it and leads back to the event in the list.
 * @param {{ event: Event, site: string, onClose: () => void, onUser: (user: string) => void }} props
 */
export function Detail({ event, site, onClose, onUser }) {
  const text = JSON.stringify(event, null, 2);
  const recorded = /(^|\.)session\.end$|^session\.(start|upload|recording\.access)$/.test(event.event) && event.sid;
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const before = document.activeElement;
    heading.current?.focus({ preventScroll: true });
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  const keys = (/** @type {KeyboardEvent} */ pressed) => {
    if (pressed.key === "Escape") onClose();
  };
  return html`<aside class="event-detail card" aria-label="Event" onKeyDown=${keys}>
    <div class="card-head">
      <div class="grow">
        <h2 class="break" tabindex="-1" ref=${heading}>${worded(event)}</h2>
        <p>${exactTime(event.time)}</p>
      </div>
      <${Button} kind="quiet" size="small" icon="close" label="Close the event" onClick=${onClose} />
    </div>
    <div class="card-body stack-small">
      <div class="row">
        <${Badge} tone=${failed(event) ? "bad" : "plain"}>${harmless(event.event, 80)}<//>
        <span class="soft small">${harmless(event.code, 20)}</span>
      </div>
      <div class="row">
        ${recorded && html`<${Button} size="small" icon="play" href=${playerHref(site, String(event.sid))}>Open the recording<//>`}
        ${event.user && event.user_kind !== 3 && html`<${Button} size="small" icon="filter" onClick=${() => onUser(String(event.user))}>Only this user<//>`}
        <${CopyButton} text=${text} label="Copy JSON" plain />
      </div>
      <pre class="event-json" tabindex="0" aria-label="The event as JSON"><code>${lines(text)}</code></pre>
    </div>
  </aside>`;
}

/** Names, texts and numbers in colours of their own; what acts in a text is made to be seen. @param {string} text */
function lines(text) {
  return text.split("\n").map((line, index) => {
    const [, space, name, value] = /^(\s*)("(?:[^"\\]|\\.)*": )?(.*)$/.exec(line) ?? ["", "", "", line];
    const kind = value?.startsWith('"') ? "text" : /^[-\dtfn]/.test(value ?? "") ? "value" : "sign";
    return html`<span key=${index}>${space}${name && html`<span class="json-name">${harmless(name, 300)}</span>`}<span class=${`json-${kind}`}>${harmless(value, 20_000)}</span>${"\n"}</span>`;
  });
}
