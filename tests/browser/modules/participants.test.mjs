import assert from "node:assert/strict";
import { test } from "node:test";

import { moved } from "../../../teleport_tw/web/static/app/terminal/participants.js";

const alice = { user: "alice", mode: "peer" };

test("of two windows of one person the one that closed goes", () => {
  const all = [alice, { user: "alice", mode: "observer" }, { user: "bob", mode: "moderator" }];
  const left = moved(all, { event: "session.leave", user: "alice", mode: "observer" });
  assert.deepEqual(left, [alice, all[2]]);
  assert.deepEqual(moved(left, { event: "session.leave", user: "nobody", mode: "peer" }), left);
});
