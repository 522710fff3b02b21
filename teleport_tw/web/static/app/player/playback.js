/**
 * The clock of a player: what is due is drawn, what is not yet waits. It knows neither page nor network.
 */

export const SPEEDS = [0.5, 1, 2, 4, 8];

/** What is left of a silence that is skipped, at each of its ends. */
const LEFT_MS = 500;
/** After a page was hidden, time does not jump. */
const LONGEST_TICK_MS = 250;
/** Output between two screens that are kept, at least. */
const APART_BYTES = 256 * 1024;
/** Of screens that are kept; with more every second goes. */
const KEPT_BYTES = 32 * 1024 * 1024;
/** Later than any recording. */
const EDGE_MS = 1e12;

/**
 * @typedef {object} Picture What shows it.
 * @property {() => void} reset
 * @property {(columns: number, rows: number) => void} resize
 * @property {(bytes: Uint8Array, done: () => void) => void} write
 * @property {() => import("./kept.js").Kept | null} keep
 * @property {(state: import("./kept.js").Kept) => void} restore
 *
 * @typedef {object} Source Where it comes from.
 * @property {(at: number, from: number) => number} play
 * @property {(bytes: number, generation: number, idle: boolean) => void} took
 */

export class Playback {
  /** @param {Source} source @param {Picture} picture */
  constructor(source, picture) {
    this.source = source;
    this.picture = picture;
    /** @type {import("./stream.js").Facts} */
    this.facts = { length: 0, complete: true, bytes: 0, events: [], idle: [], sizes: [] };
    /** @type {[number, number]} */
    this.size = [80, 24];
    this.position = 0;
    this.playing = false;
    /** Whatever comes is drawn at once: a session that goes on is watched as it happens. */
    this.following = false;
    this.speed = 1;
    this.skipIdle = false;
    this.ended = false;
    /** Time up to which all is to be drawn at once; −1, none. */
    this.catching = -1;
    /** @type {import("./stream.js").Item[]} */
    this.queue = [];
    this.head = 0;
    this.generation = 0;
    this.received = 0;
    this.drawing = 0;
    /** Bytes of all output that were given to the picture, and the time of the last. */
    this.written = this.writtenAt = 0;
    /** Screens, in the order of their time. @type {{ ms: number, offset: number, state: import("./kept.js").Kept }[]} */
    this.screens = [];
    this.apart = APART_BYTES;
    /** @type {Set<() => void>} */
    this.listeners = new Set();
  }

  /** @param {() => void} listener @returns {() => void} Stop telling it. */
  listen(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  get length() {
    return Math.max(this.facts.length, this.received);
  }

  get live() {
    return !this.facts.complete;
  }

  /** Nothing is left to play. */
  get atEnd() {
    return this.ended && this.head >= this.queue.length && this.position >= this.length;
  }

  /** Output should be there and is not. */
  get waiting() {
    return this.catching >= 0 || (this.playing && !this.following && !this.ended && this.head >= this.queue.length && this.position >= this.#limit());
  }

  /** @param {import("./stream.js").Facts} facts */
  learn(facts) {
    this.facts = facts;
    if (this.following) this.position = this.length;
    this.#changed();
  }

  /** Draw from there on. @param {number} at */
  seek(at) {
    const wanted = Math.min(Math.max(0, at), this.length || EDGE_MS);
    this.following = false;
    this.#restart(wanted, wanted);
  }

  /** To the newest of a session that goes on, and on with it. */
  follow() {
    this.following = true;
    this.playing = true;
    this.#restart(this.length, EDGE_MS);
  }

  /** Another picture shows it, and nothing is on that yet. */
  anew() {
    this.written = this.writtenAt = 0;
    this.again();
  }

  /** The connection is there again. */
  again() {
    if (this.following) this.follow();
    else this.seek(this.position);
  }

  /** @param {boolean} [on] */
  toggle(on = !this.playing) {
    this.playing = on;
    if (!on) {
      if (this.following) this.catching = -1;
      this.following = false;
    } else if (this.atEnd) return this.live ? this.follow() : this.seek(0);
    return this.#changed();
  }

  /** @param {number} steps */
  faster(steps) {
    const wanted = SPEEDS[SPEEDS.indexOf(this.speed) + steps];
    if (wanted) this.set({ speed: wanted });
  }

  /** @param {{ speed?: number, skipIdle?: boolean }} changes */
  set(changes) {
    Object.assign(this, changes);
    this.#changed();
  }

  /** @param {import("./stream.js").Item} item */
  take(item) {
    this.queue.push(item);
    this.received = Math.max(this.received, item.ms);
    if (this.following) {
      this.position = this.length;
      this.#draw(EDGE_MS);
    } else if (this.catching >= 0) {
      if (item.ms > this.catching) this.#caught();
      else this.#draw(this.catching);
    }
  }

  /** There is no more. */
  end() {
    this.ended = true;
    if (this.following) {
      this.following = false;
      this.position = this.length;
    }
    this.#caught();
  }

  /** Time has passed. @param {number} ms */
  tick(ms) {
    if (!this.playing || this.following || this.catching >= 0) return;
    let next = this.position + Math.min(ms, LONGEST_TICK_MS) * this.speed;
    if (this.skipIdle) next = this.#skipped(next);
    this.position = Math.min(next, this.#limit());
    this.#draw(this.position);
    if (this.atEnd) this.playing = false;
    this.#changed();
  }

  /** @param {number} at What the clock shows. @param {number} until Up to what all is drawn at once. */
  #restart(at, until) {
    this.position = at;
    this.catching = until;
    this.ended = false;
    this.queue = [];
    this.head = 0;
    this.drawing = 0;
    this.#begin(until);
    this.generation = this.source.play(until, this.written);
    this.#changed();
  }

  /** What stands may be what to go on from, or a screen that was kept. @param {number} until */
  #begin(until) {
    const screen = this.screens.findLast(({ ms }) => ms <= until);
    if (this.written && this.writtenAt <= until && this.written >= (screen?.offset ?? 0)) return;
    if (screen) this.picture.restore(screen.state);
    else {
      this.picture.reset();
      this.picture.resize(...this.size);
    }
    this.written = screen?.offset ?? 0;
    this.writtenAt = screen?.ms ?? 0;
  }

  /** @param {number} offset @param {number} ms */
  #keep(offset, ms) {
    if (offset < (this.screens.at(-1)?.offset ?? 0) + this.apart) return;
    const state = this.picture.keep();
    if (!state) return;
    this.screens.push({ ms, offset, state });
    if (this.screens.reduce((sum, each) => sum + each.state.bytes, 0) <= KEPT_BYTES) return;
    this.screens = this.screens.filter((_, number) => number % 2);
    this.apart *= 2;
  }

  #caught() {
    if (this.catching >= 0) this.#draw(this.catching);
    this.catching = -1;
    this.#changed();
  }

  /** How far the clock may go: not beyond what has come. */
  #limit() {
    if (this.ended) return this.length;
    return Math.max(this.received, this.live ? this.facts.length : 0);
  }

  /** @param {number} at */
  #skipped(at) {
    for (const [from, to] of this.facts.idle) {
      if (at < from + LEFT_MS) break;
      if (at < to - LEFT_MS) return to - LEFT_MS;
    }
    return at;
  }

  /** @param {number} until */
  #draw(until) {
    while (this.head < this.queue.length) {
      const item = /** @type {import("./stream.js").Item} */ (this.queue[this.head]);
      if (item.ms > until) break;
      this.head += 1;
      if (item.size) this.picture.resize(...item.size);
      if (item.bytes) this.#write(item.bytes, item.ms);
    }
    if (this.head > 1000) {
      this.queue.splice(0, this.head);
      this.head = 0;
    }
  }

  /** @param {Uint8Array} bytes @param {number} ms */
  #write(bytes, ms) {
    const { generation } = this;
    const offset = (this.written += bytes.length);
    this.writtenAt = ms;
    this.drawing += 1;
    this.picture.write(bytes, () => {
      this.#keep(offset, ms);
      if (generation !== this.generation) return;
      this.drawing -= 1;
      this.source.took(bytes.length, generation, this.drawing === 0);
    });
  }

  #changed() {
    for (const listener of this.listeners) listener();
  }
}
