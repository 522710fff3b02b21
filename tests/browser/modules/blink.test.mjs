import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Blink } from "../../../teleport_tw/web/static/app/terminal/blink.js";

const HALF_MS = 500;
const still = { matches: false };

/** A terminal as far as a cursor needs one. */
function opened() {
  const classes = new Set();
  const textarea = new EventTarget();
  let moved = () => {};
  const element = {
    classList: {
      contains: (name) => classes.has(name),
      remove: (name) => classes.delete(name),
      toggle: (name) => (classes.has(name) ? classes.delete(name) : classes.add(name)),
    },
  };
  const blink = new Blink(element);
  blink.activate({ textarea, onCursorMove: (listener) => ((moved = listener), { dispose: () => (moved = () => {}) }) });
  return { blink, textarea, lit: () => classes.size === 0, move: () => moved() };
}

beforeEach(() => {
  globalThis.document = { activeElement: null };
  globalThis.matchMedia = () => still;
  still.matches = false;
});

test("a cursor blinks while its terminal has the focus", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { textarea, lit } = opened();
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), true);
  textarea.dispatchEvent(new Event("focus"));
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), false);
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), true);
  t.mock.timers.tick(HALF_MS);
  textarea.dispatchEvent(new Event("blur"));
  assert.equal(lit(), true);
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), true);
});

test("a cursor that moves can be seen, and for a while after", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { textarea, lit, move } = opened();
  textarea.dispatchEvent(new Event("focus"));
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), false);
  move();
  assert.equal(lit(), true);
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), true);
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), false);
});

test("for who does not want to see things move it stays", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { textarea, lit } = opened();
  still.matches = true;
  textarea.dispatchEvent(new Event("focus"));
  t.mock.timers.tick(HALF_MS);
  assert.equal(lit(), true);
});

test("a terminal that is gone does not blink", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { blink, textarea, lit, move } = opened();
  textarea.dispatchEvent(new Event("focus"));
  t.mock.timers.tick(HALF_MS);
  blink.dispose();
  assert.equal(lit(), true);
  textarea.dispatchEvent(new Event("focus"));
  t.mock.timers.tick(HALF_MS);
  move();
  assert.equal(lit(), true);
});
