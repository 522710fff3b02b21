/**
 * Makes the cursor blink without asking for frames.
 *
 * xterm's own way to draw blinks by an animation of CSS, which has the browser make every frame of every second, also
 * of a terminal in which nothing happens. A browser that is about to make a frame puts off what else there is to do
 * after a key is pressed until that frame is there: also the answer to the key, which then waits for another. So there
 * is no animation here (styles/terminal.css), and twice a second a class says whether the cursor is to be seen.
 */

/** Seen so long, and so long not. */
const HALF_MS = 500;
/** On the terminal's element while the cursor is not to be seen. */
const UNLIT = "terminal-unlit";

export class Blink {
  /** @param {HTMLElement} element Around the terminal. */
  constructor(element) {
    this.element = element;
    /** Whether the cursor has moved since it last was to blink. */
    this.moved = false;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    this.begin = () => this.#begin();
    this.stop = () => this.#stop();
  }

  /** @param {import("@xterm/xterm").Terminal} terminal To be opened already. */
  activate(terminal) {
    const { textarea } = terminal;
    if (!textarea) return;
    this.textarea = textarea;
    textarea.addEventListener("focus", this.begin);
    textarea.addEventListener("blur", this.stop);
    this.watched = terminal.onCursorMove(() => {
      this.moved = true;
      this.#light();
    });
    if (document.activeElement === textarea) this.#begin();
  }

  dispose() {
    this.#stop();
    this.watched?.dispose();
    this.textarea?.removeEventListener("focus", this.begin);
    this.textarea?.removeEventListener("blur", this.stop);
  }

  #begin() {
    this.#stop();
    this.timer = setInterval(() => this.#turn(), HALF_MS);
  }

  #stop() {
    clearInterval(this.timer);
    this.#light();
  }

  /** A cursor that moves can be seen; it stays so for who does not want to see things move. */
  #turn() {
    if (!this.moved && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.element.classList.toggle(UNLIT);
    this.moved = false;
  }

  #light() {
    if (this.element.classList.contains(UNLIT)) this.element.classList.remove(UNLIT);
  }
}
