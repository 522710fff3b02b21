/**
 * Draws seldom while output pours in.
 *
 * xterm draws in every frame in which something has changed. Without a graphics card that costs more than to go through
 * what is shown, and of a flood nobody reads every frame. So the more a frame costs, the fewer there are until the flood
 * is over. What comes in trickles, as the echo of a key, is drawn at once.
 *
 * There is no public way to ask xterm for this. As its own addons do, this one reaches for the service that draws; in an
 * xterm without it, every frame is drawn.
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
    /** Tells when a frame is over: what is posted while it is drawn comes after it. */
    this.after = new MessageChannel();
    this.after.port1.onmessage = () => this.#drawn();
  }

  /** @param {import("@xterm/xterm").Terminal} terminal To be opened already. */
  activate(terminal) {
    this.terminal = terminal;
    /** @type {Service | undefined} */
    const service = /** @type {any} */ (terminal)._core?._renderService;
    if (typeof service?._renderRows !== "function") return;
    this.#select(service);
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
      draw(start, end);
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
