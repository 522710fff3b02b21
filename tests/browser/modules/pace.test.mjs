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
  const pace = new Pace(() => world.clock);
  world = { pace, drawn, refreshed, selected, service, clock: 1000 };
  pace.activate({ _core: { _renderService: service }, refresh: (start, end) => refreshed.push([start, end]) });
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
