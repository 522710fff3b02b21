/**
 * xterm.js as a picture: it has the size of the recorded terminal, in letters as large as the room allows, and takes no keys.
 */
import "../terminal/styles.js";
import { Terminal } from "@xterm/xterm";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { preferences } from "../terminal/preferences.js";
import { kept, restored } from "./kept.js";
import { coloursOf } from "../terminal/themes.js";

const FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
const SMALLEST = 6;
const LARGEST = 16;
const CONTRAST = 4.5;
const MARKS = {
  matchBackground: "#7a5c00",
  matchOverviewRuler: "#d9a400",
  activeMatchBackground: "#b35c00",
  activeMatchColorOverviewRuler: "#ff8c1a",
};

export class Picture {
  constructor() {
    this.element = document.createElement("div");
    this.element.className = "player-picture";
    this.terminal = new Terminal({
      allowProposedApi: true,
      cols: 80,
      rows: 24,
      cursorBlink: false,
      cursorInactiveStyle: "outline",
      disableStdin: true,
      drawBoldTextInBrightColors: false,
      fontFamily: FONT,
      fontSize: 14,
      linkHandler: { activate: () => {}, allowNonHttpProtocols: false },
      minimumContrastRatio: CONTRAST,
      scrollback: 0,
      theme: coloursOf(preferences.get().theme, isDark()),
    });
    this.search = new SearchAddon();
    this.terminal.loadAddon(this.search);
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    // What a recording holds is looked at: nothing of it reaches the clipboard, the window's title or a printer.
    this.terminal.parser.registerOscHandler(52, () => true);
    this.watcher = new ResizeObserver(() => this.fit());
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.turned = () => this.recolour();
    this.scheme.addEventListener("change", this.turned);
  }

  /** @param {HTMLElement} parent */
  show(parent) {
    parent.append(this.element);
    this.terminal.open(this.element);
    // Nothing can be typed, so nothing is to be reached by the keyboard.
    this.terminal.textarea?.setAttribute("tabindex", "-1");
    this.terminal.textarea?.setAttribute("aria-hidden", "true");
    this.watcher.observe(parent);
    this.recolour();
    this.fit();
  }

  close() {
    this.watcher.disconnect();
    this.scheme.removeEventListener("change", this.turned);
    this.element.remove();
    this.terminal.dispose();
  }

  /** Letters as large as there is room for a whole line, and for all lines where that is not too small. */
  fit() {
    const parent = this.element.parentElement;
    const drawn = /** @type {HTMLElement | null} */ (this.element.querySelector(".xterm-screen"));
    if (!parent?.clientWidth || !drawn?.offsetWidth) return;
    const { cols, rows } = this.terminal;
    const size = Number(this.terminal.options.fontSize);
    const wide = (parent.clientWidth - 16) / (drawn.offsetWidth / cols / size) / cols;
    const high = document.fullscreenElement ? (parent.clientHeight - 16) / (drawn.offsetHeight / rows / size) / rows : LARGEST;
    const wanted = Math.max(SMALLEST, Math.min(document.fullscreenElement ? 40 : LARGEST, Math.floor(Math.min(wide, high) * 2) / 2));
    if (wanted !== size) this.terminal.options.fontSize = wanted;
  }

  recolour() {
    this.terminal.options.theme = coloursOf(preferences.get().theme, isDark());
    const { background = "" } = this.terminal.options.theme;
    if (this.element.parentElement) this.element.parentElement.style.backgroundColor = background;
  }

  /** As a program would, so that it comes after what was written before: cancel, and a full reset. */
  reset() {
    this.terminal.write("\x18\x1bc");
  }

  /** Also in its turn. @param {number} columns @param {number} rows */
  resize(columns, rows) {
    this.terminal.write("", () => {
      if (columns === this.terminal.cols && rows === this.terminal.rows) return;
      this.terminal.resize(columns, rows);
      requestAnimationFrame(() => this.fit());
    });
  }

  /** @param {Uint8Array} bytes @param {() => void} done */
  write(bytes, done) {
    this.terminal.write(bytes, done);
  }

  /** What is on it, for {@link restore}; null amidst a control sequence. */
  keep() {
    return kept(this.terminal);
  }

  /** In its turn. @param {import("./kept.js").Kept} state */
  restore(state) {
    this.reset();
    this.resize(...state.size);
    this.terminal.write("", () => restored(this.terminal, state));
  }

  /** Mark a text wherever it stands now. @param {string} text */
  mark(text) {
    if (text) this.search.findPrevious(text, { decorations: MARKS });
    else this.search.clearDecorations();
  }
}

/** @returns {boolean} Whether the page is dark now. */
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
