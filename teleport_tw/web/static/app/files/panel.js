/**
 * A server's files beside its terminal: look through folders, fetch what is there, put there what is dropped.
 */
import { classes, html, useEffect, useRef, useState } from "../html.js";
import { useLoad } from "../load.js";
import { useStore } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Button, Confirm, ErrorState, Field, Icon, Skeleton, bytes, exactTime } from "../ui/index.js";
import { above, joined, trail } from "./paths.js";
import { download, list, tidy, transfers, upload } from "./transfers.js";

/**
 * @typedef {{ name: string, kind: "folder" | "file" | "link" | "other", size: number, modified: string, mode: string, reachable: boolean }} Entry
 * @typedef {import("./transfers.js").Transfer} Transfer
 */

await stylesheet("files");

/** @param {{ tab: import("../terminal/tabs.js").Tab, onClose: () => void }} props */
export function Files({ tab, onClose }) {
  const { facts } = tab.session;
  const place = { site: tab.target.site, server: facts?.serverId ?? "", login: facts?.login ?? "" };
  const [wanted, setWanted] = useState("");
  const [over, setOver] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const listed = useLoad((signal) => list(place, wanted, signal), [wanted]);
  const path = String(listed.data?.path ?? "");
  // A folder that cannot be read is none to upload to, and what is put meanwhile must not go to the one before.
  const open = Boolean(path) && !listed.error;
  const [known, setKnown] = useState(/** @type {File[]} Of names that are there already. */ ([]));
  const put = (/** @type {Iterable<File>} */ files) => {
    const there = new Set(listed.data?.items.map((/** @type {Entry} */ { name }) => name));
    const all = [...files];
    setKnown(all.filter(({ name }) => there.has(name)));
    upload(place, path, all.filter(({ name }) => !there.has(name)), false, listed.reload);
  };

  return html`<aside
    class=${classes("files", over && "is-over")}
    aria-label=${`Files of ${tab.name}`}
    onDragOver=${(/** @type {DragEvent} */ event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    }}
    onDragLeave=${(/** @type {DragEvent} */ event) =>
      event.relatedTarget instanceof Node && /** @type {Node} */ (event.currentTarget).contains(event.relatedTarget) ? undefined : setOver(false)}
    onDrop=${(/** @type {DragEvent} */ event) => {
      event.preventDefault();
      setOver(false);
      if (open) put(event.dataTransfer?.files ?? []);
    }}
  >
    <header class="files-head">
      <h2>Files</h2>
      <div class="row">
        <${Button} size="small" icon="upload" disabled=${!open} onClick=${() => input.current?.click()}>Upload<//>
        <${Button} kind="quiet" size="small" icon="refresh" label="Read the folder again" onClick=${listed.reload} />
        <${Button} kind="quiet" size="small" icon="close" label="Close the files" onClick=${onClose} />
      </div>
      <input
        ref=${input}
        class="hidden"
        type="file"
        multiple
        tabindex="-1"
        aria-label="Files to upload"
        onChange=${(/** @type {any} */ event) => {
          put([...event.currentTarget.files]);
          event.currentTarget.value = "";
        }}
      />
    </header>
    <${Where} path=${path} onGo=${setWanted} />
    <div class="files-list">
      ${listed.error
        ? html`<${ErrorState} error=${listed.error} onRetry=${listed.reload} />
            ${wanted && html`<p class="files-back"><${Button} onClick=${() => setWanted("")}>To the start<//></p>`}`
        : listed.data
          ? listed.data.listed === false
            ? html`<${Named} path=${path} place=${place} />`
            : html`<${Entries} entries=${listed.data.items} path=${path} place=${place} onGo=${setWanted} />
              ${listed.data.truncated && html`<p class="files-empty soft">Only the first ${listed.data.items.length.toLocaleString()} are shown.</p>`}`
          : html`<${Skeleton} lines=${6} />`}
    </div>
    <${Underway} asked=${tab.session.questions.asked} />
    ${known.length > 0 &&
    html`<${Confirm}
      title=${known.length === 1 ? `Replace ${harmless(known[0]?.name, 64)}?` : `Replace ${known.length} files?`}
      confirm="Replace"
      danger
      onConfirm=${() => upload(place, path, known, true, listed.reload)}
      onClose=${() => setKnown([])}
    >
      ${known.length === 1 ? "A file of this name is there already." : `These are there already: ${harmless(known.map(({ name }) => name).join(", "), 400)}.`}
      ${" "}What is in it now is lost.
    <//>`}
    <div class="files-drop" aria-hidden="true"><${Icon} name="upload" size=${28} /><span>Drop to upload to ${harmless(path)}</span></div>
  </aside>`;
}

/** @param {{ path: string, onGo: (path: string) => void }} props */
function Where({ path, onGo }) {
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  useEffect(() => setTyped(null), [path]);
  if (typed === null) {
    return html`<nav class="files-where" aria-label="Folder">
      <ol>
        ${trail(path).map(
          ({ name, path: step }) => html`<li key=${step}><button class="link" type="button" onClick=${() => onGo(step)}>${harmless(name, 64)}</button></li>`,
        )}
      </ol>
      <${Button} kind="quiet" size="small" icon="edit" label="Type a path" disabled=${!path} onClick=${() => setTyped(path)} />
    </nav>`;
  }
  return html`<form
    class="files-where"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      if (typed === path) setTyped(null);
      onGo(typed);
    }}
  >
    <input
      class="input mono"
      aria-label="Path of a folder"
      value=${typed}
      ref=${(/** @type {HTMLInputElement | null} */ element) => element?.focus()}
      spellcheck=${false}
      autocomplete="off"
      onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Escape" && setTyped(null)}
    />
    <${Button} size="small" type="submit">Go<//>
  </form>`;
}

/** @param {{ entries: Entry[], path: string, place: import("./transfers.js").Place, onGo: (path: string) => void }} props */
function Entries({ entries, path, place, onGo }) {
  const sorted = [...entries].sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
  return html`<ul aria-label="Content of the folder">
    ${path !== "/" &&
    html`<li class="files-line">
      <button class="files-name" type="button" onClick=${() => onGo(above(path))}><${Icon} name="chevronUp" size=${18} /><span>The folder above</span></button>
    </li>`}
    ${sorted.map((entry) => html`<${Line} key=${entry.name} entry=${entry} path=${joined(path, entry.name)} place=${place} onGo=${onGo} />`)}
    ${!entries.length && html`<li class="files-empty soft">This folder is empty. Drop files here to upload them.</li>`}
  </ul>`;
}

/**
 * Where those who watch a session are asked about each file, folders are not shown: files are named.
 * @param {{ path: string, place: import("./transfers.js").Place }} props
 */
function Named({ path, place }) {
  const [name, setName] = useState("");
  return html`<form
    class="files-named"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      if (name) download(place, /^(\/|~\/)/.test(name) ? name : joined(path, name));
    }}
  >
    <p class="soft">Those who watch this session are asked about each file, so folders are not shown. Files that you upload go to <code>${harmless(path)}</code>.</p>
    <${Field} label="File to download" value=${name} onInput=${setName} hint="Its name in this folder, or its whole path." spellcheck=${false} autocomplete="off" />
    <${Button} type="submit" icon="download" disabled=${!name}>Download<//>
  </form>`;
}

/** @param {Entry} entry */
function rank({ kind }) {
  return kind === "folder" ? 0 : 1;
}

/** @param {{ entry: Entry, path: string, place: import("./transfers.js").Place, onGo: (path: string) => void }} props */
function Line({ entry, path, place, onGo }) {
  const name = harmless(entry.name, 256);
  const about = [entry.mode, entry.modified && exactTime(entry.modified)].filter(Boolean).join("  ");
  if (entry.kind === "folder" && entry.reachable) {
    return html`<li class="files-line">
      <button class="files-name" type="button" title=${about} onClick=${() => onGo(path)}><${Icon} name="folder" size=${18} /><span>${name}</span></button>
    </li>`;
  }
  return html`<li class="files-line">
    <span class="files-name" title=${about}><${Icon} name=${ICONS[entry.kind] ?? "file"} size=${18} /><span>${name}</span></span>
    ${entry.kind === "file" && html`<span class="files-size">${bytes(entry.size)}</span>`}
    ${!entry.reachable && html`<span class="soft small" title="Its name holds what a page cannot send back">use tsh scp</span>`}
    ${entry.reachable && (entry.kind === "file" || entry.kind === "link") &&
    html`<${Button} kind="quiet" size="small" icon="download" label=${`Download ${name}`} onClick=${() => download(place, path, entry.kind === "file" ? entry.size : 0)} />`}
  </li>`;
}

/** @type {Record<string, string>} */
const ICONS = { folder: "folder", file: "file", link: "external", other: "settings" };

/**
 * What is on its way, and what became of it.
 * @param {{ asked: import("../terminal/questions.js").Asked | null }} props What others have to approve of first.
 */
function Underway({ asked }) {
  const all = useStore(transfers);
  if (!all.length) return null;
  return html`<section class="files-underway" aria-label="Transfers">
    <header class="row row-apart">
      <h3>Transfers</h3>
      ${all.some(({ over }) => over) && html`<button class="link small" type="button" onClick=${tidy}>Clear finished</button>`}
    </header>
    ${asked && html`<p class="small soft">Those who watch are asked about <code class="file-path">${harmless(asked.location, 2048)}</code></p>`}
    <ul>
      ${all.map((transfer, index) => html`<${One} key=${index} transfer=${transfer} />`)}
    </ul>
  </section>`;
}

/** @type {Record<import("./transfers.js").State, string>} */
const STATES = { waiting: "Waiting", running: "", done: "Done", handed: "In your browser’s downloads", failed: "Failed", stopped: "Stopped" };

/** @param {{ transfer: Transfer }} props */
function One({ transfer }) {
  const { kind, name, size, moved, state, problem, over } = transfer;
  const share = size ? Math.min(1, moved / size) : 0;
  const said = STATES[state] || (size ? `${bytes(moved)} of ${bytes(size)}` : bytes(moved));
  return html`<li class=${`transfer transfer-${state}`}>
    <${Icon} name=${state === "done" || state === "handed" ? "check" : state === "failed" ? "alert" : kind} size=${16} />
    <div class="grow">
      <div class="transfer-words"><span class="cut">${harmless(name, 128)}</span><span class="soft nowrap">${said}</span></div>
      ${!over && html`<progress class="transfer-bar" max="1" value=${size ? share : undefined} aria-label=${`${kind} of ${harmless(name, 64)}`}></progress>`}
      ${problem && html`<p class="transfer-problem" role="alert">${harmless(problem)}</p>`}
    </div>
    ${transfer.replace &&
    html`<${Button} size="small" kind="danger" label=${`Replace ${harmless(name, 64)}`} onClick=${() => transfer.again()}>Replace<//>`}
    ${!over && html`<${Button} kind="quiet" size="small" icon="close" label=${`Stop ${harmless(name, 64)}`} onClick=${() => transfer.stop()} />`}
  </li>`;
}
