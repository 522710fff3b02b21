// How good a password is, in words.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LEAST, strength } from "../../../teleport_tw/web/static/app/passwords.js";

test("says how many characters are missing, counted as people count them", () => {
  assert.equal(strength("").level, 0);
  assert.match(strength("a".repeat(LEAST - 1)).advice, /^1 more character\.$/);
  assert.match(strength("ä".repeat(LEAST - 2)).advice, /^2 more characters\.$/);
  assert.match(strength("🔑".repeat(LEAST - 3)).advice, /^3 more characters\.$/);
});

test("knows what is tried first", () => {
  assert.equal(strength("Password1234").word, "Weak");
  assert.equal(strength("alice-123456", ["alice"]).word, "Weak");
  assert.match(strength("alice-123456", ["alice"]).advice, /“alice”/);
});

test("does not count what repeats itself or follows on", () => {
  assert.equal(strength("aaaaaaaaaaaaaaaa").word, "Weak");
  assert.equal(strength("abcdefghijklmnop").word, "Weak");
  assert.equal(strength("123456789012345").word, "Weak");
});

test("grows with what is added", () => {
  const levels = ["kettlemarble", "kettle marble river", "kettle marble river trumpet 9"].map((text) => strength(text).level);
  assert.deepEqual(levels, [...levels].sort());
  assert.equal(levels.at(-1), 4);
});
