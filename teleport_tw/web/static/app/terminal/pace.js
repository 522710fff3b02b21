/**
 * Draws seldom while output pours in.
 *
 * xterm draws in every frame in which something has changed. Without a graphics card that costs more than to go through
 * what is shown, and of a flood nobody reads every frame. So the more a frame costs, the fewer there are until the flood
 * is over. What comes in trickles, as the echo of a key, is drawn at once. With every line xterm also moves its scroll
 * bar and its text area, for which the browser makes frames of its own: of a flood that is put off until one is drawn.
 *
 * There is no public way to ask xterm for this. As its own addons do, this one reaches for the services that draw; in an
 * xterm without them, every frame is drawn.
 */

/** Bytes since the last frame that are a flood. */
const FLOOD = 32 * 1024;
/** Of the time, what drawing may take of a flood: one part in so many. */
const SHARE = 5;
/** Longest time between two frames, in milliseconds. */
const LONGEST_MS = 200;

/**
 * @typedef {object} Service
 * @property {(start: number, end: number) => void} _renderRows
 * @property {(start: unknown, end: unknown, column: boolean) => void} handleSelectionChanged
 */

export class Pace {
  /** @param {() => number} [now] In milliseconds. */
  constructor(now = () => performance.now()) {
    this.now = now;
    /** Bytes handed to the terminal since the last frame. */
    this.poured = 0;
    this.drawnAt = 0;
    this.pause = 0;
    /** Rows that wait for a frame. */
    this.start = Infinity;
    this.end = -1;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** Work that waits for a frame, by its name. @type {Map<string, () => void>} */
    this.late = new Map();
    /** Tells when a frame is over: what is posted while it is drawn comes after it. */
    this.after = new MessageChannel();
    this.after.port1.onmessage = () => this.#drawn();
  }

  /** @param {import("@xterm/xterm").Terminal} terminal To be opened already. */
  activate(terminal) {
    this.terminal = terminal;
    const core = /** @type {any} */ (terminal)._core;
    /** @type {Service | undefined} */
    const service = core?._renderService;
    if (typeof service?._renderRows !== "function") return;
    this.#select(service);
    this.#postpone(core._viewport, "_sync");
    this.#postpone(core, "_syncTextArea");
    const draw = service._renderRows.bind(service);
    service._renderRows = (start, end) => {
      this.start = Math.min(this.start, start);
      this.end = Math.max(this.end, end);
      const now = this.now();
      const wait = this.drawnAt + this.pause - now;
      if (this.poured > FLOOD && wait > 0) {
        this.timer ??= setTimeout(() => this.#again(), wait);
        return;
      }
      [start, end] = [this.start, this.end];
      this.start = Infinity;
      this.end = -1;
      this.poured = 0;
      this.drawnAt = now;
      this.after.port2.postMessage(null);
      for (const work of this.late.values()) work();
      this.late.clear();
      draw(start, end);
    };
  }

  /**
   * Work that shows in a frame only, and of which the last time counts.
   * @param {Record<string, any> | undefined} owner
   * @param {string} name Of its method.
   */
  #postpone(owner, name) {
    if (typeof owner?.[name] !== "function") return;
    const work = owner[name].bind(owner);
    owner[name] = (/** @type {unknown[]} */ ...told) => {
      if (this.poured > FLOOD) this.late.set(name, () => work(...told));
      else work(...told);
    };
  }

  /**
   * With what comes xterm draws the selection anew, and all rows with it, even when nothing is selected.
   * @param {Service} service
   */
  #select(service) {
    const select = service.handleSelectionChanged.bind(service);
    let selected = false;
    service.handleSelectionChanged = (start, end, column) => {
      if (!start && !selected) return;
      selected = Boolean(start);
      select(start, end, column);
    };
  }

  dispose() {
    clearTimeout(this.timer);
    this.after.port1.close();
  }

  #again() {
    this.timer = undefined;
    if (this.end >= 0) this.terminal?.refresh(this.start, this.end);
  }

  #drawn() {
    const took = this.now() - this.drawnAt;
    this.pause = Math.min(LONGEST_MS, took * SHARE);
  }
}
