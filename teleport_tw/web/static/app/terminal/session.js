/**
 * One terminal session as the page sees it: its WebSocket, what is typed, what comes back, and what happens between.
 *
 * A session outlives its WebSockets. When one is lost another is opened to the same address, which names the session
 * and how much of its output the page has; both sides then send what the other has missed. Nothing here draws: whoever
 * shows a session gives it a `shown` to write to and asks to be told of changes.
 *
 * The rules of the conversation are in docs/protocols/terminal.rst.
 */

import { moved, participants } from "./participants.js";
import { NOTHING, heard } from "./questions.js";
import { Outbox, decode, encode, json } from "./envelope.js";
import { pause } from "./backoff.js";

/** Round trips are measured this often, and a WebSocket that has said nothing since the last is given up. */
const PROBE_MS = 5000;
/** After the browser says that the network went or came, an answer is expected sooner. */
const HASTY_MS = 2500;
/** A WebSocket that does not open, or a session that is not told of, in this time is tried again. */
const OPENING_MS = 20000;
/** States of a WebSocket. */
const OPEN = 1;
const CLOSING = 2;
/** Begins an echo of ours; the proxy's own reports are objects. */
const ECHO = "page ";
/** Close code of ours: the page lets go and may come back. Anything but 1000 is a loss to the proxy. */
const LET_GO = 4000;
/**
 * Output that waits to be drawn and is told of as if it had been: what the proxy may send meanwhile keeps the terminal busy.
 * More is told of as it is drawn, so that a slow page still holds up the program that writes.
 */
export const DRAWN_SOON = 512 * 1024;
/** What may be typed ahead while the network is gone; more is refused, and said. */
export const MOST_AHEAD = 1024 * 1024;

/**
 * @typedef {object} Facts What the proxy says of the session.
 * @property {string} id
 * @property {string} login
 * @property {string} hostname
 * @property {string} serverId
 * @property {string} cluster
 * @property {string} created
 * @property {string} mode peer, observer or moderator; peer for one's own.
 *
 * @typedef {object} Ending
 * @property {string} code A word of the protocol, or one of ours.
 * @property {string} reason For people; may be empty.
 * @property {number | null} status The shell's exit status.
 * @property {string} signal
 * @property {boolean} again Whether a new session may well succeed.
 * @property {string} undelivered What was typed and did not reach the server.
 *
 * @typedef {"connecting" | "asking" | "live" | "lost" | "ended"} State
 *
 * @typedef {object} Ways What a session needs of the world.
 * @property {(address: string) => WebSocket} open
 * @property {() => string | Promise<string>} bearer
 * @property {() => Promise<string>} renew Another bearer, when the one there is was not taken.
 */

/**
 * Ends told by the WebSocket's close code alone.
 * @type {Record<number, {code: string, reason: string, again: boolean}>}
 */
const REASONS = {
  4403: { code: "refused", reason: "The cluster refused this session.", again: false },
  4409: { code: "taken_over", reason: "This session goes on in another window.", again: false },
  4410: { code: "gone", reason: "The session is not there any more.", again: true },
};

/** @type {Ending} */
const NO_ENDING = { code: "", reason: "", status: null, signal: "", again: false, undelivered: "" };

export class Session {
  /**
   * @param {(cols: number, rows: number) => string} address Of the WebSocket, with its params.
   * @param {Ways} ways
   * @param {{resume?: string, cols?: number, rows?: number, taken?: number}} [options] `taken`: of it is shown
   *   already.
   */
  constructor(address, ways, { resume = "", cols = 80, rows = 24, taken } = {}) {
    this.address = address;
    this.ways = ways;
    /** @type {State} */
    this.state = "connecting";
    /** @type {Facts | null} */
    this.facts = null;
    /** @type {import("./participants.js").Participant[]} */
    this.participants = [];
    /** @type {Ending} */
    this.ending = NO_ENDING;
    /** Milliseconds there and back; null, not known. @type {{page: number | null, server: number | null}} */
    this.latency = { page: null, server: null };
    /** A challenge of a second factor that waits for an answer. @type {any} */
    this.challenge = null;
    /** What people in it are asked. @type {import("./questions.js").Questions} */
    this.questions = NOTHING;
    /** Warnings and news, newest last; for people. @type {string[]} */
    this.notices = [];
    /** Whether something typed had to be refused. */
    this.full = false;
    /** When the next attempt is made, as of `Date.now()`; 0, now. */
    this.retryAt = 0;
    this.lostAt = 0;
    this.resume = resume;
    this.cols = cols;
    this.rows = rows;
    /** Raw bytes of the proxy that were handed to the terminal. */
    this.taken = taken ?? 0;
    /**
     * Gets output, and calls `done` when the terminal has drawn it.
     * @type {(bytes: Uint8Array, done: () => void) => void}
     */
    this.shown = (_bytes, done) => done();
    /** Another participant's size. @type {(cols: number, rows: number) => void} */
    this.resized = () => {};
    this.outbox = new Outbox((message) => this.#send(message));
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.attempt = 0;
    this.renewed = false;
    /** Whether this page has seen the session's beginning, so that `taken` means something. */
    this.known = !resume || taken !== undefined;
    /** Whether positions of what is typed are those of the proxy. */
    this.sure = !resume;
    /** Whether the proxy has still to tell what of our input it has. */
    this.syncing = false;
    this.window = 0;
    /** Whether nothing was heard since the last question. */
    this.silent = false;
    /** Bytes that were handed to the terminal and are not drawn yet. */
    this.undrawn = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.probe = undefined;
  }

  /** @param {() => void} listener Called after every change. @returns {() => void} Stop telling it. */
  listen(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Bytes typed that have not reached the server. */
  get ahead() {
    return this.outbox.size;
  }

  /** Whether what is typed goes anywhere. */
  get writable() {
    return this.state !== "ended" && this.facts?.mode !== "observer" && this.facts?.mode !== "moderator";
  }

  /** Begin, or go on with what `resume` names. */
  start() {
    this.#open();
  }

  /** @param {string | Uint8Array} typed @returns {boolean} Whether it was taken. */
  write(typed) {
    if (!this.writable) return false;
    if (this.outbox.size + typed.length * (typeof typed === "string" ? 3 : 1) > MOST_AHEAD) {
      this.full = true;
      this.#changed();
      return false;
    }
    this.outbox.write(typed);
    if (this.state !== "live") this.#changed();
    return true;
  }

  /** Forget what was typed while the network was gone, as far as the proxy does not have it already. */
  discard() {
    if (this.state !== "lost") return;
    this.outbox.discard();
    this.sure = false;
    this.full = false;
    this.#changed();
  }

  /** @param {number} cols @param {number} rows */
  resize(cols, rows) {
    if (cols === this.cols && rows === this.rows) return;
    this.cols = cols;
    this.rows = rows;
    this.#tellSize();
  }

  /** @param {object} proof Of the second factor, as the JSON endpoints have it. */
  answer(proof) {
    this.challenge = null;
    this.#become("connecting");
    this.#send(encode("n", proof));
  }

  /** Whether a file may be copied. @param {string} requestId @param {boolean} approved */
  decide(requestId, approved) {
    const { asked } = this.questions;
    if (this.state !== "live" || asked?.id !== requestId) return;
    this.#send(encode("t", { requestId, approved }));
    this.#learn({ asked: { ...asked, said: approved } });
  }

  /** What became of a file was read. @param {string} requestId */
  forget(requestId) {
    if (this.questions.outcome?.id === requestId) this.#learn({ outcome: null });
  }

  /** It was proven that we are there. */
  present() {
    this.#learn({ present: 0 });
  }

  /** Try now rather than at `retryAt`. */
  retry() {
    if (this.state === "lost" && !this.socket) this.#open();
  }

  /** The browser says that the network went or came. */
  hurry() {
    if (this.state === "lost") this.retry();
    else if (this.state === "live") this.#measure(HASTY_MS);
  }

  /** @param {boolean} [forAll] A moderator ends the session for everybody. */
  end(forAll = false) {
    if (this.state === "ended") return;
    this.#send(forAll ? encode("c", { terminate: true }) : encode("c"));
    if (!forAll) this.#end({ ...NO_ENDING, code: "closed", again: true });
  }

  /** The page lets go; the session stays for a while and can be resumed. */
  leave() {
    this.#drop(LET_GO);
    clearTimeout(this.timer);
  }

  async #open() {
    clearTimeout(this.timer);
    this.retryAt = 0;
    const token = await this.ways.bearer();
    if (this.state === "ended" || this.socket) return;
    const socket = this.ways.open(this.address(this.cols, this.rows));
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.outbox.shown = this.taken;
    this.timer = setTimeout(() => this.#lost(socket), OPENING_MS);
    socket.onopen = () => {
      const received = this.known ? { received: this.taken } : {};
      socket.send(JSON.stringify(this.resume ? { token, resume: this.resume, ...received } : { token }));
    };
    socket.onmessage = (event) => {
      if (socket === this.socket) this.#heard(event.data);
    };
    socket.onclose = (event) => this.#closed(socket, event);
    this.#changed();
  }

  /** @param {string | ArrayBuffer} data */
  #heard(data) {
    this.silent = false;
    if (typeof data === "string") this.#answered(JSON.parse(data));
    else this.#take(decode(data));
  }

  /** @param {{status: string, code?: string, message?: string}} said */
  #answered({ status, code = "", message = "" }) {
    if (status === "ok") return;
    if (code === "bad_token" && !this.renewed) {
      this.renewed = true;
      this.#drop(LET_GO);
      this.ways.renew().then(
        () => this.#open(),
        () => this.#end({ ...NO_ENDING, code: "signed_out", reason: message }),
      );
      return;
    }
    this.#end({ ...NO_ENDING, code: code || "refused", reason: message, again: code !== "refused" });
  }

  /** @param {import("./envelope.js").Envelope} envelope */
  #take(envelope) {
    switch (envelope.type) {
      case "r":
        return this.#output(envelope);
      case "s":
        return this.#stands(json(envelope));
      case "l":
        return this.#measured(envelope);
      case "w":
        return this.#sizeOfAnother(new TextDecoder().decode(envelope.payload));
      case "n":
        this.challenge = json(envelope);
        clearTimeout(this.timer);
        return this.#become("asking");
      case "a":
        return this.#event(json(envelope));
      case "e":
        this.notices = [...this.notices.slice(-9), String(json(envelope).message ?? "")];
        return this.#changed();
      case "c":
        return this.#end({ ...NO_ENDING, ...json(envelope) });
    }
  }

  /** @param {import("./envelope.js").Envelope} envelope */
  #output({ payload, offset, received }) {
    if (this.syncing) this.#synced(received);
    else this.outbox.acknowledged(received);
    if (this.full && this.outbox.size < MOST_AHEAD / 2) this.full = false;
    if (!payload.length) return;
    if (!this.known) {
      this.known = true;
      this.taken = this.outbox.shown = offset;
    }
    const fresh = offset < this.taken ? payload.subarray(this.taken - offset) : payload;
    if (!fresh.length) return;
    this.taken += fresh.length;
    this.undrawn += fresh.length;
    this.#told();
    this.shown(fresh, () => {
      this.undrawn -= fresh.length;
      this.#told();
    });
  }

  /** Tell the proxy how far the terminal is, or will be soon. */
  #told() {
    const reached = this.taken - Math.max(0, this.undrawn - DRAWN_SOON);
    if (reached > this.outbox.shown) this.outbox.took(reached - this.outbox.shown);
    if (!this.undrawn) this.outbox.tell();
  }

  /** @param {any} said */
  #stands({ session, resume = "", window = 0, resumed = false }) {
    clearTimeout(this.timer);
    this.facts = {
      id: session.id,
      login: session.login,
      hostname: session.server_hostname,
      serverId: session.server_id,
      cluster: session.cluster_name,
      created: session.created,
      mode: session.mode || "peer",
    };
    this.participants = participants(session.participants);
    this.questions = NOTHING;
    this.resume = resume;
    this.window = window;
    this.attempt = 0;
    this.renewed = false;
    this.#become("live");
    this.#tellSize();
    if (resumed) {
      this.syncing = true;
    } else {
      this.known = true;
      this.#synced(0);
    }
    this.#measure(PROBE_MS);
  }

  /** The proxy has told how much of our input it has. @param {number} received */
  #synced(received) {
    this.syncing = false;
    if (!this.sure) this.outbox.begin(received);
    this.sure = true;
    this.outbox.resumed(this.window, received);
    this.#changed();
  }

  /** @param {{event: string, user?: string, mode?: string}} said */
  #event(said) {
    const people = moved(this.participants, said);
    const questions = heard(this.questions, said, Date.now());
    if (people === this.participants && questions === this.questions) return;
    this.participants = people;
    this.#learn(questions);
  }

  /** @param {string} size */
  #sizeOfAnother(size) {
    const [cols, rows] = size.split(":").map(Number);
    if (cols > 0 && rows > 0) this.resized(cols, rows);
  }

  #tellSize() {
    if (this.state === "live") this.#send(encode("w", `${this.cols}:${this.rows}`));
  }

  /** Ask for an echo, and give the WebSocket up when nothing at all comes back. @param {number} within */
  #measure(within) {
    clearTimeout(this.probe);
    const socket = this.socket;
    this.silent = true;
    this.#send(encode("l", `${ECHO}${performance.now()}`));
    this.probe = setTimeout(() => {
      if (socket !== this.socket || this.state === "ended") return;
      if (this.silent) this.#lost(socket);
      else this.#measure(PROBE_MS);
    }, within);
  }

  /** @param {import("./envelope.js").Envelope} envelope */
  #measured(envelope) {
    const said = new TextDecoder().decode(envelope.payload);
    if (said.startsWith(ECHO)) {
      this.latency = { ...this.latency, page: performance.now() - Number(said.slice(ECHO.length)) };
    } else {
      this.latency = { ...this.latency, server: JSON.parse(said).ssh ?? null };
    }
    this.#changed();
  }

  /** @param {WebSocket} socket @param {CloseEvent} event */
  #closed(socket, event) {
    if (socket !== this.socket) return;
    const reason = REASONS[event.code];
    if (reason) this.#end({ ...NO_ENDING, ...reason, reason: event.reason || reason.reason });
    else this.#lost(socket);
  }

  /** @param {WebSocket | null} socket */
  #lost(socket) {
    if (this.state === "ended" || socket !== this.socket) return;
    if (this.state === "live" && !this.resume) {
      this.#end({ ...NO_ENDING, code: "lost", reason: "The connection to the proxy was lost.", again: true });
      return;
    }
    this.#drop(LET_GO);
    this.outbox.lost();
    this.syncing = false;
    if (this.challenge) this.challenge = null;
    if (this.state !== "lost") this.lostAt = Date.now();
    const wait = pause(this.attempt);
    this.attempt += 1;
    this.retryAt = Date.now() + wait;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#open(), wait);
    this.#become("lost");
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.state === "ended") return;
    clearTimeout(this.timer);
    this.outbox.lost();
    this.challenge = null;
    this.ending = { ...ending, undelivered: this.outbox.text() };
    this.#become("ended");
    this.#drop(1000);
  }

  /** Let the WebSocket go, if there is one. @param {number} code */
  #drop(code) {
    clearTimeout(this.probe);
    const socket = this.socket;
    this.socket = null;
    if (socket && socket.readyState < CLOSING) socket.close(code);
  }

  /** @param {Uint8Array<ArrayBuffer>} message */
  #send(message) {
    if (this.socket?.readyState === OPEN) this.socket.send(message);
  }

  /** @param {State} state */
  #become(state) {
    this.state = state;
    this.#changed();
  }

  /** @param {Partial<import("./questions.js").Questions>} changes */
  #learn(changes) {
    this.questions = { ...this.questions, ...changes };
    this.#changed();
  }

  #changed() {
    for (const listener of this.listeners) listener();
  }
}
