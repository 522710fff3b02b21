// How often a terminal is drawn.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Pace } from "../../../teleport_tw/web/static/app/terminal/pace.js";

const FLOOD = 100_000;
let world;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const drawn = [];
  const refreshed = [];
  const selected = [];
  const service = {
    _renderRows: (start, end) => drawn.push([start, end]),
    handleSelectionChanged: (start) => selected.push(start),
  };
  const moved = [];
  const viewport = { _sync: (line) => moved.push(["scroll bar", line]) };
  const core = { _renderService: service, _viewport: viewport, _syncTextArea: () => moved.push(["text area"]) };
  const pace = new Pace(() => world.clock);
  world = { pace, drawn, refreshed, selected, service, core, viewport, moved, clock: 1000 };
  pace.activate({ _core: core, refresh: (start, end) => refreshed.push([start, end]) });
});

afterEach(() => {
  world.pace.dispose();
  mock.timers.reset();
});

/** A frame that takes ten milliseconds, and is known to be over. */
async function frame(start, end) {
  world.service._renderRows(start, end);
  world.clock += 10;
  while (!world.pace.pause) await new Promise((over) => setImmediate(over));
}

test("what trickles is drawn at once", async () => {
  await frame(0, 1);
  world.pace.poured += 20;
  world.service._renderRows(3, 4);
  assert.deepEqual(world.drawn, [[0, 1], [3, 4]]);
});

test("of a flood all rows are drawn, later and together", async () => {
  await frame(0, 1);
  world.pace.poured += FLOOD;
  world.service._renderRows(3, 4);
  world.service._renderRows(7, 9);
  assert.deepEqual(world.drawn, [[0, 1]]);
  assert.deepEqual(world.refreshed, []);
  world.clock += 200;
  mock.timers.tick(200);
  assert.deepEqual(world.refreshed, [[3, 9]]);
  world.service._renderRows(3, 9);
  assert.deepEqual(world.drawn, [[0, 1], [3, 9]]);
});

test("after a flood what trickles is drawn at once again", async () => {
  await frame(0, 1);
  world.pace.poured += FLOOD;
  world.clock += 500;
  world.service._renderRows(0, 9);
  world.service._renderRows(2, 2);
  assert.deepEqual(world.drawn, [[0, 1], [0, 9], [2, 2]]);
});

test("a selection is drawn when there is one, and when it goes", () => {
  for (const start of [undefined, [0, 1], [0, 2], undefined, undefined]) {
    world.service.handleSelectionChanged(start, start, false);
  }
  assert.deepEqual(world.selected, [[0, 1], [0, 2], undefined]);
});

test("an xterm without that service goes on as it is", () => {
  const pace = new Pace();
  pace.activate({ _core: {} });
  pace.dispose();
});

test("what trickles moves the scroll bar and the text area at once", () => {
  world.pace.poured += 20;
  world.viewport._sync(7);
  world.core._syncTextArea();
  assert.deepEqual(world.moved, [["scroll bar", 7], ["text area"]]);
});

test("a flood moves them once for each frame, to where they are then", async () => {
  await frame(0, 1);
  world.pace.poured += FLOOD;
  for (const line of [1, 2, 3]) {
    world.viewport._sync(line);
    world.core._syncTextArea();
  }
  world.service._renderRows(0, 1);
  assert.deepEqual(world.moved, []);
  world.clock += 1000;
  world.service._renderRows(0, 1);
  assert.deepEqual(world.moved, [["scroll bar", 3], ["text area"]]);
  world.service._renderRows(0, 1);
  assert.equal(world.moved.length, 2);
});

test("an xterm without them is drawn all the same", () => {
  const drawn = [];
  const pace = new Pace(() => 0);
  pace.activate({ _core: { _renderService: { _renderRows: (...rows) => drawn.push(rows), handleSelectionChanged() {} } } });
  pace.terminal._core._renderService._renderRows(0, 1);
  pace.dispose();
  assert.deepEqual(drawn, [[0, 1]]);
});
