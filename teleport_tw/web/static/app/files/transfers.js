/**
 * Files on their way to a server or from one: a few at a time, each with its progress, its end, and a way to stop it.
 */
import { ApiError, bearer, csrf, renew, sentence } from "../api.js";
import { Cancelled, askMfa } from "../mfa.js";
import { createStore } from "../state.js";
import { nameIn } from "./paths.js";

const AT_ONCE = 2;
/** Larger downloads are the browser's own: smaller ones are collected here, with their progress, before they are saved. */
const TO_DISK_BYTES = 64 * 1024 * 1024;
/** The server wants a second factor first. */
const FACTOR_NEEDED = 412;
/** A file of that name is there. */
const THERE_ALREADY = 409;

/**
 * @typedef {"waiting" | "running" | "done" | "handed" | "failed" | "stopped"} State `handed`: the browser goes on with it.
 * @typedef {{ site: string, server: string, login: string }} Place Whose files they are.
 */

/** The address of a server's files. @param {Place} place @param {string} what @param {Record<string, string>} query */
function filesAddress({ site, server, login }, what, query) {
  const parts = ["webapi", "sites", site, "nodes", server, login].map(encodeURIComponent);
  return `/${parts.join("/")}/${what}?${new URLSearchParams(query)}`;
}

/** One file on its way. */
export class Transfer {
  /**
   * @param {"upload" | "download"} kind
   * @param {string} name
   * @param {number} size In bytes; 0, not known.
   * @param {(transfer: Transfer) => Promise<"done" | "handed">} work
   */
  constructor(kind, name, size, work) {
    this.kind = kind;
    this.name = name;
    this.size = size;
    this.moved = 0;
    /** @type {State} */
    this.state = "waiting";
    this.problem = "";
    /** Does it after all, where what is there already kept it. @type {(() => void) | null} */
    this.replace = null;
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

  /** Put it in place of what is there: that was asked, and the answer is yes. */
  again() {
    const { replace } = this;
    this.replace = null;
    transfers.set(transfers.get().filter((each) => each !== this));
    replace?.();
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
      (state) => transfer.end(state),
      (error) =>
        transfer.stopper.signal.aborted || error instanceof Cancelled
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
 * @param {boolean} overwrite What is there already; else it stays, and the transfer fails.
 * @param {() => void} [arrived] Called after each that came through.
 */
export function upload(place, folder, files, overwrite, arrived = () => {}) {
  for (const file of files) {
    add(
      new Transfer("upload", file.name, file.size, async (transfer) => {
        const address = filesAddress(place, "scp", { location: folder, filename: file.name, overwrite: String(overwrite) });
        try {
          await sent(place, address, file, transfer);
        } catch (error) {
          if (error instanceof ApiError && error.status === THERE_ALREADY && !overwrite) {
            transfer.replace = () => upload(place, folder, [file], true, arrived);
          }
          throw error;
        }
        arrived();
        return "done";
      }),
    );
  }
}

/** @param {Place} place @param {string} path @param {number} [size] */
export function download(place, path, size = 0) {
  const name = nameIn(path);
  add(
    new Transfer("download", name, size, async (transfer) => {
      const { signal } = transfer.stopper;
      if (!size || size > TO_DISK_BYTES) {
        const ticket = await (await asked(place, "POST", "scp/ticket", { location: path }, signal)).json();
        if (ticket.size > TO_DISK_BYTES) {
          save(ticket.url, name);
          return "handed";
        }
      }
      const answer = await asked(place, "GET", "scp", { location: path }, signal);
      const counted = answer.body?.pipeThrough(counting(transfer, Number(answer.headers.get("Content-Length")) || size));
      if (!counted) throw new Error("the browser did not hand on the file");
      const address = URL.createObjectURL(await new Response(counted).blob());
      save(address, name);
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      return "done";
    }),
  );
}

/**
 * What is in a folder.
 * @param {Place} place
 * @param {string} path Empty for the home.
 * @param {AbortSignal} signal
 */
export async function list(place, path, signal) {
  const answer = await asked(place, "GET", "list", path ? { path } : {}, signal);
  return answer.json();
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

/** What a request carries to be believed. @param {import("../mfa.js").Answer | null} proof @returns {Record<string, string>} */
function credentials(proof) {
  const said = { Authorization: `Bearer ${bearer()}`, "X-CSRF-Token": csrf() };
  return proof ? { ...said, "X-Mfa-Answer": JSON.stringify(proof) } : said;
}

/** Where a second factor is wanted, the person is asked. @param {Place} place */
function proved({ server, login }) {
  return askMfa({
    scope: "session",
    target: { kind: "node", name: server, login },
    reason: "Files of this server need your second factor.",
  });
}

/**
 * @param {Place} place
 * @param {"GET" | "POST"} method
 * @param {string} what
 * @param {Record<string, string>} query
 * @param {AbortSignal} signal
 * @returns {Promise<Response>}
 */
async function asked(place, method, what, query, signal) {
  const ask = (/** @type {import("../mfa.js").Answer | null} */ proof = null) =>
    fetch(filesAddress(place, what, query), { method, headers: credentials(proof), signal, redirect: "error" });
  let answer = await ask();
  if (answer.status === 401 && (await renew())) answer = await ask();
  if (answer.status === FACTOR_NEEDED) answer = await ask(await proved(place));
  if (!answer.ok) throw new ApiError(answer.status, sentence(messageIn(await answer.text(), answer.status)));
  return answer;
}

/** @param {Place} place @param {string} address @param {File} file @param {Transfer} transfer */
async function sent(place, address, file, transfer) {
  let answer = await posted(address, file, transfer, null);
  if (answer.status === 401 && (await renew())) answer = await posted(address, file, transfer, null);
  if (answer.status === FACTOR_NEEDED) answer = await posted(address, file, transfer, await proved(place));
  if (answer.status >= 300) throw new ApiError(answer.status, messageIn(answer.responseText, answer.status));
}

/**
 * Only this way does a browser tell how much of a body is gone.
 * @param {string} address
 * @param {File} file
 * @param {Transfer} transfer
 * @param {import("../mfa.js").Answer | null} proof
 * @returns {Promise<XMLHttpRequest>}
 */
function posted(address, file, transfer, proof) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    for (const [name, value] of Object.entries(credentials(proof))) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = ({ loaded }) => transfer.progress(loaded);
    request.onload = () => resolve(request);
    request.onerror = () => reject(new Error("the connection was lost before the file had arrived"));
    request.onabort = () => reject(new Error("it was stopped"));
    transfer.stopper.signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** @param {string} body @param {number} status */
function messageIn(body, status) {
  try {
    return String(JSON.parse(body).error.message);
  } catch {
    return `the cluster answered with ${status}`;
  }
}

/** Have the browser keep what is at an address. @param {string} address @param {string} name */
function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}
