/**
 * Files on their way to a server or from one: a few at a time, each with its progress, its end, and a way to stop it.
 */
import { bearer, csrf, renew, sentence } from "../api.js";
import { createStore } from "../state.js";
import { joined, nameIn } from "./paths.js";

const AT_ONCE = 2;
/** Larger downloads go straight to a file, where the browser can: others are collected before they are saved. */
const TO_DISK_BYTES = 64 * 1024 * 1024;

/**
 * @typedef {"waiting" | "running" | "done" | "failed" | "stopped"} State
 * @typedef {{ site: string, server: string, login: string }} Place Whose files they are.
 */

/** The address of a server's files. @param {Place} place @param {string} what @param {Record<string, string>} query */
export function filesAddress({ site, server, login }, what, query) {
  const parts = ["webapi", "sites", site, "nodes", server, login, what];
  return `/${parts.map(encodeURIComponent).join("/")}?${new URLSearchParams(query)}`;
}

/** One file on its way. */
export class Transfer {
  /**
   * @param {"upload" | "download"} kind
   * @param {string} name
   * @param {number} size In bytes; 0, not known.
   * @param {(transfer: Transfer) => Promise<void>} work
   */
  constructor(kind, name, size, work) {
    this.kind = kind;
    this.name = name;
    this.size = size;
    this.moved = 0;
    /** @type {State} */
    this.state = "waiting";
    this.problem = "";
    this.stopper = new AbortController();
    this.work = work;
  }

  get over() {
    return this.state !== "waiting" && this.state !== "running";
  }

  stop() {
    if (this.over) return;
    if (this.state === "waiting") this.end("stopped");
    this.stopper.abort();
  }

  /** @param {number} bytes @param {number} [size] */
  progress(bytes, size) {
    this.moved = bytes;
    if (size) this.size = size;
    changed();
  }

  /** @param {State} state @param {string} [problem] */
  end(state, problem = "") {
    this.state = state;
    this.problem = problem;
    changed();
  }
}

/** All of this window, oldest first. @type {import("../state.js").Store<Transfer[]>} */
export const transfers = createStore(/** @type {Transfer[]} */ ([]));

let frame = 0;

function changed() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    transfers.set([...transfers.get()]);
  });
}

/** @param {Transfer} transfer */
function add(transfer) {
  transfers.set([...transfers.get(), transfer]);
  next();
}

function next() {
  const all = transfers.get();
  if (all.filter(({ state }) => state === "running").length >= AT_ONCE) return;
  const transfer = all.find(({ state }) => state === "waiting");
  if (!transfer) return;
  transfer.state = "running";
  changed();
  transfer
    .work(transfer)
    .then(
      () => transfer.end("done"),
      (error) =>
        transfer.stopper.signal.aborted
          ? transfer.end("stopped")
          : transfer.end("failed", sentence(error instanceof Error ? error.message : String(error))),
    )
    .finally(next);
  next();
}

/** Forget those that are over. */
export function tidy() {
  transfers.set(transfers.get().filter(({ over }) => !over));
}

/**
 * @param {Place} place
 * @param {string} folder
 * @param {Iterable<File>} files
 * @param {() => void} [arrived] Called after each that came through.
 */
export function upload(place, folder, files, arrived = () => {}) {
  for (const file of files) {
    add(
      new Transfer("upload", file.name, file.size, async (transfer) => {
        const address = filesAddress(place, "scp", { location: joined(folder, file.name), filename: file.name });
        await sent(address, file, transfer);
        arrived();
      }),
    );
  }
}

/** @param {Place} place @param {string} path @param {number} [size] */
export function download(place, path, size = 0) {
  const name = nameIn(path);
  const saving = size > TO_DISK_BYTES && "showSaveFilePicker" in window ? chosenFile(name) : null;
  add(
    new Transfer("download", name, size, async (transfer) => {
      const file = await saving;
      const answer = await asked(filesAddress(place, "scp", { location: path, filename: name }), transfer.stopper.signal);
      const counted = answer.body?.pipeThrough(counting(transfer, Number(answer.headers.get("Content-Length")) || size));
      if (!counted) throw new Error("the browser did not hand on the file");
      if (file) await counted.pipeTo(await file.createWritable(), { signal: transfer.stopper.signal });
      else save(await new Response(counted).blob(), name);
    }),
  );
}

/** @param {string} name @returns {Promise<any>} A file that the person chose to write to. */
function chosenFile(name) {
  return /** @type {any} */ (window).showSaveFilePicker({ suggestedName: name });
}

/** @param {Transfer} transfer @param {number} size */
function counting(transfer, size) {
  let moved = 0;
  return new TransformStream({
    transform(chunk, controller) {
      moved += chunk.byteLength;
      transfer.progress(moved, size);
      controller.enqueue(chunk);
    },
  });
}

/** @param {string} address @param {AbortSignal} signal @returns {Promise<Response>} */
async function asked(address, signal) {
  const ask = () => fetch(address, { headers: { Authorization: `Bearer ${bearer()}` }, signal, redirect: "error" });
  let answer = await ask();
  if (answer.status === 401 && (await renew())) answer = await ask();
  if (!answer.ok) throw new Error(messageIn(await answer.text(), answer.status));
  return answer;
}

/**
 * Only this way does a browser tell how much of a body is gone.
 * @param {string} address @param {File} file @param {Transfer} transfer
 */
function sent(address, file, transfer) {
  return /** @type {Promise<void>} */ (
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", address);
      request.setRequestHeader("Authorization", `Bearer ${bearer()}`);
      request.setRequestHeader("X-CSRF-Token", csrf());
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.onprogress = ({ loaded }) => transfer.progress(loaded);
      request.onload = () =>
        request.status < 300 ? resolve() : reject(new Error(messageIn(request.responseText, request.status)));
      request.onerror = () => reject(new Error("the connection was lost before the file had arrived"));
      request.onabort = () => reject(new Error("it was stopped"));
      transfer.stopper.signal.addEventListener("abort", () => request.abort());
      request.send(file);
    })
  );
}

/** @param {string} body @param {number} status */
function messageIn(body, status) {
  try {
    return String(JSON.parse(body).error.message);
  } catch {
    return `the cluster answered with ${status}`;
  }
}

/** @param {Blob} content @param {string} name */
function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
