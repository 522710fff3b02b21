/**
 * xterm.js around one session: what the proxy sends is drawn, what is typed is sent.
 *
 * The terminal lives in an element of its own, which moves in and out of the page with its tab; only a terminal that can
 * be seen is drawn.
 */
import "./styles.js";
import { Terminal } from "@xterm/xterm";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { SerializeAddon } from "@xterm/addon-serialize";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { harmless } from "../text.js";
import { Blink } from "./blink.js";
import { Pace } from "./pace.js";
import { preferences } from "./preferences.js";
import { coloursOf } from "./themes.js";

const FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
const LONGEST_TITLE = 80;
/** Bytes; xterm goes through them in some tens of milliseconds. */
const MOST_AT_ONCE = 384 * 1024;
/** Lines above the screen that a picture of it has. */
const PICTURED = 500;
const HIDE_CURSOR = "\x1b[?25l";
/** Of text and what is behind it, whatever colours a program chooses: WCAG 2.2, 1.4.3. */
const CONTRAST = 4.5;

/**
 * @typedef {object} Ears What the console around a screen wants to know.
 * @property {(title: string) => void} title
 * @property {() => void} bell
 * @property {() => void} output
 * @property {() => void} pressed The Ctrl of the bar of keys was used up.
 * @property {(address: string) => void} link Somebody clicked on a link that a program made.
 * @property {(text: string) => void} risky Several lines would be run as they are pasted.
 * @property {(event: KeyboardEvent) => boolean} key Whether a key press is the console's and not the program's.
 */

export class Screen {
  /** @param {import("./session.js").Session} session @param {Ears} ears */
  constructor(session, ears) {
    this.session = session;
    this.ears = ears;
    this.element = document.createElement("div");
    this.element.className = "terminal-screen";
    const chosen = preferences.get();
    this.terminal = new Terminal({
      allowProposedApi: true,
      cols: session.cols,
      rows: session.rows,
      cursorBlink: true,
      drawBoldTextInBrightColors: false,
      fontFamily: FONT,
      fontSize: chosen.fontSize,
      linkHandler: { activate: (_event, address) => ears.link(address), allowNonHttpProtocols: false },
      macOptionClickForcesSelection: true,
      minimumContrastRatio: CONTRAST,
      screenReaderMode: chosen.reader,
      scrollback: chosen.scrollback,
      theme: coloursOf(chosen.theme, isDark()),
    });
    this.fit = new FitAddon();
    this.search = new SearchAddon();
    this.pictures = new SerializeAddon();
    this.pace = new Pace();
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.search);
    this.terminal.loadAddon(this.pictures);
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    /** @type {import("@xterm/addon-webgl").WebglAddon | null} */
    this.painter = null;
    /** The next key is typed with Ctrl: a phone's keyboard has none. */
    this.ctrl = false;
    /** Output that came while xterm was at work. @type {{bytes: Uint8Array, done: () => void}[]} */
    this.waiting = [];
    this.writing = false;
    this.opened = false;
    this.visible = false;
    this.closed = false;
    this.frame = 0;
    this.watcher = new ResizeObserver(() => this.#refit());
    this.#listen();
    this.forget = preferences.subscribe(() => this.#prefer());
  }

  #listen() {
    const { session, terminal, ears } = this;
    session.shown = (bytes, done) => {
      if (this.closed) return done();
      ears.output();
      this.waiting.push({ bytes, done });
      if (!this.writing) this.#write();
    };
    session.resized = (cols, rows) => terminal.resize(cols, rows);
    terminal.onData((typed) => session.write(this.#withCtrl(typed)));
    terminal.onBinary((typed) => session.write(Uint8Array.from(typed, (sign) => sign.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => session.resize(cols, rows));
    terminal.onTitleChange((title) => ears.title(harmless(title, LONGEST_TITLE)));
    terminal.onBell(() => ears.bell());
    terminal.attachCustomKeyEventHandler((event) => !this.#taken(event));
    this.element.addEventListener("paste", (event) => this.#pasted(event), true);
  }

  /** Draw in `parent` from now on. @param {HTMLElement} parent */
  show(parent) {
    parent.append(this.element);
    this.visible = true;
    if (!this.opened) {
      this.opened = true;
      this.terminal.open(this.element);
      this.terminal.loadAddon(this.pace);
      this.terminal.loadAddon(new Blink(this.element));
    }
    this.recolour();
    if (this.element.clientWidth) this.fit.fit();
    this.watcher.observe(this.element);
    this.#paint();
  }

  /** Go on without being seen. */
  hide() {
    this.visible = false;
    this.watcher.disconnect();
    this.#unpaint();
    this.element.remove();
  }

  /** What is shown, with the terminal's modes. */
  picture() {
    return this.closed ? "" : this.pictures.serialize({ scrollback: PICTURED });
  }

  /** Show what was shown before, ahead of all output. @param {string} picture */
  begin(picture) {
    this.terminal.write(picture);
  }

  /** Nobody types here any more: what was shown stays, without a cursor. */
  rest() {
    if (!this.closed) this.terminal.write(HIDE_CURSOR);
  }

  /** Nothing will be drawn any more. */
  close() {
    this.hide();
    this.closed = true;
    this.forget();
    this.terminal.dispose();
  }

  focus() {
    this.terminal.focus();
  }

  /** @returns {boolean} Whether something was selected. */
  copy() {
    const selected = this.terminal.getSelection();
    if (selected) navigator.clipboard.writeText(selected).catch(() => {});
    return Boolean(selected);
  }

  /** @param {string} text */
  paste(text) {
    const runs = /[\r\n]/.test(text.trimEnd()) && !this.terminal.modes.bracketedPasteMode;
    if (runs && preferences.get().careful) this.ears.risky(text);
    else this.terminal.paste(text);
  }

  /** Press a key that a phone's keyboard lacks. @param {string} sequence */
  press(sequence) {
    const arrows = this.terminal.modes.applicationCursorKeysMode && /^\x1b\[[A-D]$/.test(sequence);
    this.session.write(arrows ? sequence.replace("[", "O") : sequence);
    this.terminal.scrollToBottom();
    this.focus();
  }

  /** @param {string} text @param {boolean} [back] @returns {boolean} Whether it is there. */
  find(text, back = false) {
    const options = { incremental: false, decorations: MARKS };
    return back ? this.search.findPrevious(text, options) : this.search.findNext(text, options);
  }

  stopFinding() {
    this.search.clearDecorations();
    this.terminal.clearSelection();
  }

  /** The page's theme or the person's choice may have changed. */
  recolour() {
    this.terminal.options.theme = coloursOf(preferences.get().theme, isDark());
    const { background = "" } = this.terminal.options.theme;
    this.element.style.backgroundColor = background;
  }

  #prefer() {
    const { fontSize, scrollback, reader } = preferences.get();
    Object.assign(this.terminal.options, { fontSize, scrollback, screenReaderMode: reader });
    this.recolour();
    this.#refit();
  }

  #refit() {
    if (!this.visible || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.visible && !this.closed && this.element.clientWidth) this.fit.fit();
    });
  }

  /**
   * Hand to xterm what waits, in one piece: of a flood it then draws less often, and gets through it sooner. A single
   * piece, as the echo of a key, goes at once.
   */
  #write() {
    let size = 0;
    let count = 0;
    for (const { bytes } of this.waiting) {
      if (count && size + bytes.length > MOST_AT_ONCE) break;
      size += bytes.length;
      count += 1;
    }
    const pieces = this.waiting.splice(0, count);
    this.writing = count > 0;
    if (!this.writing) return;
    this.pace.poured += size;
    this.terminal.write(joined(pieces, size), () => {
      for (const { done } of pieces) done();
      this.#write();
    });
  }

  /** On the graphics card where there is one; xterm's own way of drawing is the fallback. */
  async #paint() {
    canPaint ??= hasGraphics();
    if (this.painter || !canPaint) return;
    try {
      const { WebglAddon } = await import("@xterm/addon-webgl");
      if (!this.visible || this.painter) return;
      const painter = new WebglAddon();
      painter.onContextLoss(() => this.#unpaint());
      this.terminal.loadAddon(painter);
      this.painter = painter;
    } catch {
      canPaint = false;
    }
  }

  #unpaint() {
    const painter = this.painter;
    this.painter = null;
    painter?.dispose();
  }

  /** @param {string} typed */
  #withCtrl(typed) {
    if (!this.ctrl || typed.length !== 1) return typed;
    this.ctrl = false;
    this.ears.pressed();
    return String.fromCharCode(typed.toUpperCase().charCodeAt(0) & 31);
  }

  /** @param {KeyboardEvent} event */
  #taken(event) {
    // Nobody is there any more to be sent a Tab: it leads on, to what can be done now.
    if (event.key === "Tab" && this.session.state === "ended") return true;
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return false;
    if (event.code === "KeyC") {
      event.preventDefault();
      this.copy();
      return true;
    }
    // The browser pastes by itself, if the key press is left to it.
    return event.code === "KeyV" || this.ears.key(event);
  }

  /** @param {ClipboardEvent} event */
  #pasted(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    event.preventDefault();
    event.stopPropagation();
    if (text) this.paste(text);
  }
}

/** @param {{bytes: Uint8Array}[]} pieces @param {number} size @returns {Uint8Array} */
function joined(pieces, size) {
  if (pieces.length === 1 && pieces[0]) return pieces[0].bytes;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const { bytes } of pieces) {
    whole.set(bytes, at);
    at += bytes.length;
  }
  return whole;
}

/** Whether WebGL is worth using; null, not tried yet. @type {boolean | null} */
let canPaint = null;

/**
 * Without a graphics card browsers imitate one, many times slower than xterm's own way of drawing.
 * @returns {boolean}
 */
function hasGraphics() {
  const context = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!context) return false;
  const names = context.getExtension("WEBGL_debug_renderer_info");
  const name = String(context.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : context.RENDERER));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

const MARKS = {
  matchBackground: "#7a5c00",
  matchOverviewRuler: "#d9a400",
  activeMatchBackground: "#b35c00",
  activeMatchColorOverviewRuler: "#ff8c1a",
};

/** @returns {boolean} Whether the page is dark now. */
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
