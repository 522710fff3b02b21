/**
 * A recording as the proxy sends it: what is known of it, and its output with the time each piece was written. To seek is
 * to ask anew. A WebSocket that is lost is opened again, and whoever listens asks for the rest.
 *
 * The rules of the conversation are in docs/protocols/terminal.rst, Players.
 */
import { decode, encode, json } from "../terminal/envelope.js";
import { pause } from "../terminal/backoff.js";

const TELL_BYTES = 16 * 1024;
const NO_TOKEN = 4401;
const REFUSED = 4403;

/**
 * @typedef {object} Facts What is known of a recording by now.
 * @property {number} length In milliseconds.
 * @property {boolean} complete Nothing will be added.
 * @property {number} bytes
 * @property {{ ms: number, event: string, user?: string, mode?: string, login?: string }[]} events
 * @property {[number, number][]} idle Silences.
 * @property {[number, number, number][]} sizes Time, columns, rows.
 *
 * @typedef {{ ms: number, bytes?: Uint8Array, size?: [number, number], event?: any }} Item
 *
 * @typedef {{ id: number, hits: { ms: number, line: string }[], more: boolean }} Found
 *
 * @typedef {object} Ear
 * @property {(session: Record<string, any>, size: [number, number]) => void} session
 * @property {(facts: Facts) => void} facts
 * @property {(item: Item) => void} item
 * @property {() => void} end There is no more of what was asked for.
 * @property {() => void} opened The conversation stands, for the first time or again: ask for output.
 * @property {(lost: boolean) => void} lost
 * @property {(reason: string) => void} failed It is not to be had.
 * @property {(text: string) => void} warned
 *
 * @typedef {object} Ways What a stream needs of the world.
 * @property {() => WebSocket} open
 * @property {() => string} bearer
 * @property {() => Promise<boolean>} renew
 */

export class Stream {
  /** @param {Ways} ways @param {Ear} ear */
  constructor(ways, ear) {
    this.ways = ways;
    this.ear = ear;
    this.generation = 0;
    this.taken = 0;
    this.told = 0;
    this.attempt = 0;
    this.renewed = false;
    this.over = false;
    this.standing = false;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {Map<number, (found: Found) => void>} */
    this.searches = new Map();
    this.searched = 0;
  }

  start() {
    const socket = this.ways.open();
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ token: this.ways.bearer() }));
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") this.#greeted(JSON.parse(data));
      else this.#heard(decode(data));
    };
    socket.onclose = (event) => socket === this.socket && this.#closed(event);
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
    this.socket?.close(1000);
    this.socket = null;
  }

  /**
   * Output from a time on; what was shown before comes first, to be drawn at once.
   * @param {number} at
   * @param {number} [from] So many bytes of all output are not wanted again.
   */
  play(at, from = 0) {
    this.generation += 1;
    this.taken = this.told = 0;
    this.#send(encode("p", { at: Math.max(0, Math.floor(at)), generation: this.generation, from }));
    return this.generation;
  }

  /** So much output was drawn. @param {number} bytes @param {number} generation @param {boolean} idle Nothing waits to be drawn. */
  took(bytes, generation, idle) {
    if (generation !== this.generation) return;
    this.taken += bytes;
    if (this.taken - this.told < TELL_BYTES && !idle) return;
    if (this.taken === this.told) return;
    this.told = this.taken;
    this.#send(encode("r", "", { offset: generation, received: this.taken }));
  }

  /** @param {string} text @returns {Promise<Found>} Lines that hold it. */
  search(text) {
    const id = (this.searched += 1);
    return new Promise((resolve) => {
      this.searches.set(id, resolve);
      this.#send(encode("q", { id, text }));
    });
  }

  /** @param {any} told */
  #greeted(told) {
    if (told.status === "ok") {
      this.standing = true;
      this.attempt = 0;
      this.renewed = false;
      this.ear.lost(false);
      this.ear.opened();
    } else if (told.code !== "bad_token") this.#fail(String(told.message ?? ""));
  }

  /** @param {import("../terminal/envelope.js").Envelope} envelope */
  #heard(envelope) {
    const { type, payload, ms } = envelope;
    if (type === "r") this.#item({ ms, bytes: payload });
    else if (type === "w") this.#item({ ms, size: sizeOf(new TextDecoder().decode(payload)) });
    else if (type === "a") this.#item({ ms, event: json(envelope) });
    else if (type === "s") {
      const { session, size } = json(envelope);
      this.ear.session(session ?? {}, sizeOf(String(size ?? "")));
    } else if (type === "m") this.ear.facts(json(envelope));
    else if (type === "p") this.#playing(json(envelope));
    else if (type === "q") this.#found(json(envelope));
    else if (type === "e") this.ear.warned(String(json(envelope).message ?? ""));
    else if (type === "c") this.#ended(json(envelope));
  }

  /** Output of an older request, still on its way, is not wanted. @param {Item} item */
  #item(item) {
    if (this.answered === this.generation) this.ear.item(item);
  }

  /** The request that what comes now belongs to. */
  answered = 0;

  /** @param {any} told */
  #playing(told) {
    if (!told.end) this.answered = told.generation;
    else if (told.generation === this.generation) this.ear.end();
  }

  /** @param {Found} found */
  #found(found) {
    this.searches.get(found.id)?.(found);
    this.searches.delete(found.id);
  }

  /** @param {any} told */
  #ended(told) {
    if (told.code === "restart") return; // it is opened again when it closes
    this.#fail(String(told.reason ?? ""));
  }

  /** @param {CloseEvent} event */
  async #closed({ code, reason }) {
    this.socket = null;
    this.standing = false;
    for (const [id, resolve] of this.searches) resolve({ id, hits: [], more: false });
    this.searches.clear();
    if (this.over) return;
    if (code === REFUSED) return this.#fail(reason);
    if (code === NO_TOKEN) {
      if (this.renewed || !(await this.ways.renew())) return this.#fail("Your session has ended. Sign in again to go on.");
      this.renewed = true;
    }
    this.ear.lost(true);
    this.timer = setTimeout(() => this.over || this.start(), code === NO_TOKEN ? 0 : pause(this.attempt));
    this.attempt += 1;
    return undefined;
  }

  /** @param {string} reason */
  #fail(reason) {
    if (this.over) return;
    this.close();
    this.ear.failed(reason);
  }

  /** @param {Uint8Array<ArrayBuffer>} message */
  #send(message) {
    if (this.standing && this.socket?.readyState === 1) this.socket.send(message);
  }
}

/** @param {string} text @returns {[number, number]} */
function sizeOf(text) {
  const [columns = 0, rows = 0] = text.split(":").map((part) => Number.parseInt(part, 10));
  return columns > 0 && rows > 0 ? [columns, rows] : [80, 24];
}
