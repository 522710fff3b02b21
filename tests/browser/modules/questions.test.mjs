import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTHING, heard } from "../../../teleport_tw/web/static/app/terminal/questions.js";

const about = { requestID: "1", requester: "alice", location: "/etc/hosts", direction: "download", approvers: [] };
const request = { event: "file_transfer_request", ...about, counts: true };
const approve = { event: "file_transfer_request_approve", ...about, approvers: ["bob"] };
const deny = { event: "file_transfer_request_deny", ...about, reason: "bob denied it" };

test("a request is asked about until it is granted", () => {
  let files = heard(NOTHING, request, 0);
  assert.deepEqual([files.asked?.upload, files.asked?.counts, files.asked?.said], [false, true, null]);
  files = heard(files, { ...approve, granted: false, missing: "1 more" }, 0);
  assert.deepEqual([files.asked?.approvers, files.asked?.missing, files.asked?.counts], [["bob"], "1 more", true]);
  files = heard(files, { ...approve, granted: true }, 0);
  assert.equal(files.asked, null);
  assert.equal(files.outcome?.granted, true);
});

test("the next request takes the place of an outcome", () => {
  const files = heard(heard(heard(NOTHING, request, 0), deny, 0), { ...request, requestID: "2" }, 0);
  assert.deepEqual([files.asked?.id, files.outcome], ["2", null]);
});

test("what is told of another request leaves the one that is asked about", () => {
  const files = heard(heard(NOTHING, request, 0), { ...deny, requestID: "0" }, 0);
  assert.equal(files.asked?.id, "1");
  assert.equal(files.outcome?.id, "0");
});

test("an answer stays when the request is told of again", () => {
  const files = heard(NOTHING, request, 0);
  const answered = { ...files, asked: files.asked && { ...files.asked, said: true } };
  assert.equal(heard(answered, request, 0).asked?.said, true);
  assert.equal(heard(answered, { ...request, requestID: "2" }, 0).asked?.said, null);
});

test("other events change nothing, and odd ones break nothing", () => {
  assert.equal(heard(NOTHING, { event: "session.join", user: "bob" }, 0), NOTHING);
  const odd = heard(NOTHING, { event: "file_transfer_request", requestID: 5, location: null, approvers: "all" }, 0);
  assert.deepEqual([odd.asked?.id, odd.asked?.location, odd.asked?.approvers, odd.asked?.counts], ["5", "", [], false]);
});

test("who moderates is asked to be there, whatever else is asked", () => {
  const files = heard(heard(NOTHING, { event: "x-teleport-mfa-presence", seconds: 30 }, 1000), request, 2000);
  assert.deepEqual([files.present, files.asked?.id], [31_000, "1"]);
});
