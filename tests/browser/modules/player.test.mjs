/** A player's clock, without a page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Playback } from "../../../teleport_tw/web/static/app/player/playback.js";

const bytes = (words) => new TextEncoder().encode(words);

/** A player whose picture is a text, and whose proxy is the test. */
function player() {
  const asked = [];
  const froms = [];
  const told = [];
  const picture = {
    text: "",
    size: "",
    reset: () => void (picture.text = ""),
    resize: (columns, rows) => void (picture.size = `${columns}x${rows}`),
    write: (data, done) => {
      picture.text += new TextDecoder().decode(data);
      done();
    },
    keep: () => ({ size: [80, 24], bytes: picture.weight, parts: picture.text }),
    restore: (state) => void (picture.text = state.parts),
    weight: 1000,
  };
  const source = { play: (at, from) => (froms.push(from), asked.push(at)), took: (count, generation) => told.push([count, generation]) };
  const playback = new Playback(source, picture);
  playback.learn({ length: 10_000, complete: true, bytes: 0, events: [], idle: [[2000, 9000]], sizes: [] });
  return { playback, picture, asked, told, froms };
}

/** What the recording holds. */
function recorded(playback, from = 0) {
  if (from < 1) playback.take({ ms: 100, bytes: bytes("a") });
  if (from < 2) playback.take({ ms: 2000, bytes: bytes("b") });
  if (from < 3) playback.take({ ms: 9000, size: [90, 30] });
  if (from < 3) playback.take({ ms: 9000, bytes: bytes("c") });
  playback.end();
}

test("what is due is shown, and told of", () => {
  const { playback, picture, asked, told } = player();
  playback.again();
  recorded(playback);
  playback.toggle(true);
  playback.tick(150);
  assert.deepEqual([picture.text, asked, told], ["a", [0], [[1, 1]]]);
  playback.set({ speed: 8 });
  playback.tick(240);
  assert.equal(picture.text, "ab");
});

test("a seek draws what was before, at once and also while it stands", () => {
  const { playback, picture, asked, froms } = player();
  playback.again();
  recorded(playback);
  playback.seek(5000);
  assert.equal(playback.waiting, true);
  recorded(playback, froms.at(-1));
  assert.deepEqual([picture.text, asked, playback.position, playback.waiting], ["ab", [0, 5000], 5000, false]);
  playback.seek(99_999);
  recorded(playback, froms.at(-1));
  assert.deepEqual([picture.text, picture.size, playback.position, playback.atEnd], ["abc", "90x30", 10_000, true]);
});

test("on another picture all is drawn again", () => {
  const { playback, picture, froms } = player();
  playback.seek(10_000);
  recorded(playback, froms.at(-1));
  picture.reset();
  playback.anew();
  recorded(playback, froms.at(-1));
  assert.deepEqual([picture.text, playback.position], ["abc", 10_000]);
});

test("silences are skipped but for their ends", () => {
  const { playback } = player();
  playback.again();
  recorded(playback);
  playback.set({ skipIdle: true });
  playback.seek(2400);
  recorded(playback);
  playback.toggle(true);
  playback.tick(200);
  assert.equal(playback.position, 8500);
});

test("the clock waits for what has not come", () => {
  const { playback } = player();
  playback.again();
  playback.take({ ms: 100, bytes: bytes("a") });
  playback.toggle(true);
  for (let count = 0; count < 5; count++) playback.tick(250);
  assert.deepEqual([playback.position, playback.waiting], [100, true]);
});

test("played to its end it stops, and begins again", () => {
  const { playback, asked } = player();
  playback.again();
  recorded(playback);
  playback.seek(9990);
  recorded(playback);
  playback.toggle(true);
  playback.tick(250);
  assert.deepEqual([playback.playing, playback.atEnd], [false, true]);
  playback.toggle();
  assert.deepEqual([asked.at(-1), playback.playing], [0, true]);
});

test("a session that goes on is drawn as it comes, until somebody pauses", () => {
  const { playback, picture } = player();
  playback.learn({ ...playback.facts, complete: false });
  playback.follow();
  playback.take({ ms: 12_000, bytes: bytes("x") });
  assert.deepEqual([picture.text, playback.position, playback.live], ["x", 12_000, true]);
  playback.toggle(false);
  playback.take({ ms: 13_000, bytes: bytes("y") });
  assert.deepEqual([picture.text, playback.following], ["x", false]);
  playback.follow();
  playback.take({ ms: 13_000, bytes: bytes("y") });
  assert.equal(picture.text, "xy");
});

/** Output of `count` pieces of 128 KiB, a second apart, behind the first `from` bytes. */
function long(playback, from, count = 40) {
  const all = Array.from({ length: count }, (_, number) => String.fromCharCode(97 + (number % 26)).repeat(131_072));
  let before = 0;
  all.forEach((text, number) => {
    const rest = text.slice(Math.max(0, from - before));
    before += text.length;
    if (rest) playback.take({ ms: number * 200, bytes: bytes(rest) });
  });
  playback.end();
  return all;
}

test("a screen that was kept is where a seek begins, and shows what playing straight does", () => {
  const { playback, picture, froms } = player();
  playback.again();
  const all = long(playback, 0);
  playback.seek(9000);
  long(playback, froms.at(-1));
  assert.equal(picture.text, all.join(""));
  for (const at of [7900, 0, 100, 4100, 4100, 3900, 8000, 250, 10_000, 5999]) {
    playback.seek(at);
    long(playback, froms.at(-1));
    assert.equal(picture.text === all.filter((_, number) => number * 200 <= at).join(""), true, String(at));
    assert.ok(at < 500 || froms.at(-1) >= (Math.min(39, Math.floor(at / 200)) - 3) * 131_072, String(at));
  }
});

test("of screens that are kept there are no more than fit", () => {
  const { playback, picture } = player();
  picture.weight = 8 * 1024 * 1024;
  playback.again();
  playback.seek(10_000);
  long(playback, 0);
  assert.ok(playback.screens.length > 1 && playback.screens.length <= 4);
});
