/** A terminal's session against a proxy made of an array: what it sends, keeps, sends again and says at its end. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { decode, encode } from "../../../teleport_tw/web/static/app/terminal/envelope.js";
import { DRAWN_SOON, MOST_AHEAD, Session } from "../../../teleport_tw/web/static/app/terminal/session.js";

const text = new TextDecoder();
const bytes = (words) => new TextEncoder().encode(words);

/** A WebSocket whose other end is the test. */
class Wire {
  constructor(address) {
    this.address = address;
    this.readyState = 0;
    this.sent = [];
    this.code = 0;
  }
  send(message) {
    this.sent.push(message);
  }
  close(code) {
    this.readyState = 3;
    this.code = code;
  }
  opens() {
    this.readyState = 1;
    this.onopen();
  }
  says(...message) {
    const whole = typeof message[0] === "object" ? JSON.stringify(message[0]) : encode(...message);
    this.onmessage({ data: whole });
  }
  breaks(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
  /** What was typed, as it went over. */
  get raw() {
    const envelopes = this.sent.slice(1).map(decode);
    return envelopes.filter(({ type }) => type === "r").map(({ payload, offset }) => [offset, text.decode(payload)]);
  }
  typed() {
    return this.raw.filter(([, words]) => words);
  }
  of(type) {
    return this.sent.slice(1).map(decode).filter((each) => each.type === type).map(({ payload }) => text.decode(payload));
  }
}

const FACTS = { id: "1", login: "root", server_hostname: "node-1", server_id: "n", mode: "peer", participants: ["alice"] };
let wires;
let renewals;
let screen;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  wires = [];
  renewals = 0;
  screen = "";
});
afterEach(() => mock.timers.reset());

function opened(options) {
  const session = new Session(() => "wss://proxy/ws", {
    open(address) {
      wires.push(new Wire(address));
      return wires.at(-1);
    },
    bearer: () => `bearer ${renewals}`,
    async renew() {
      renewals += 1;
      return "";
    },
  }, options);
  session.shown = (output, done) => {
    screen += text.decode(output);
    done();
  };
  session.start();
  return session;
}

const settle = async () => {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
};

async function live(options) {
  const session = opened(options);
  await settle();
  wires[0].opens();
  wires[0].says({ type: "create_session_response", status: "ok" });
  wires[0].says("s", { session: FACTS, resume: "again", window: 65536, resumed: false });
  return session;
}

async function back(received, session, options = {}) {
  mock.timers.tick(9000);
  await settle();
  const wire = wires.at(-1);
  wire.opens();
  wire.says("s", { session: FACTS, resume: "again", window: 65536, resumed: true });
  wire.says("r", "", { received, ...options });
  return wire;
}

test("the first message is the bearer, and then comes the size", async () => {
  const session = await live({ cols: 100, rows: 30 });
  assert.deepEqual(JSON.parse(wires[0].sent[0]), { token: "bearer 0" });
  assert.deepEqual(wires[0].of("w"), ["100:30"]);
  assert.equal(session.state, "live");
  assert.equal(session.facts.hostname, "node-1");
});

test("what is typed before the session stands waits for it", async () => {
  const session = opened();
  await settle();
  session.write("uptime\r");
  wires[0].opens();
  assert.deepEqual(wires[0].typed(), []);
  wires[0].says("s", { session: FACTS, resume: "again", window: 65536 });
  assert.deepEqual(wires[0].typed(), [[0, "uptime\r"]]);
});

test("after a loss the proxy is told what was shown, and gets what it does not have", async () => {
  const session = await live();
  wires[0].says("r", "hello ", { offset: 0 });
  session.write("abc");
  session.write("def");
  wires[0].breaks();
  assert.equal(session.state, "lost");
  session.write("ghi");
  const wire = await back(4, session);
  assert.deepEqual(JSON.parse(wire.sent[0]), { token: "bearer 0", resume: "again", received: 6 });
  assert.deepEqual(wire.typed(), [[4, "ef"], [6, "ghi"]].map(([at, words]) => [at, words]));
  wire.says("r", "lo world", { offset: 3, received: 9 });
  assert.equal(screen, "hello world");
  assert.equal(session.ahead, 0);
});

test("what was typed ahead can be discarded, and what follows has the proxy's position", async () => {
  const session = await live();
  session.write("sent");
  wires[0].breaks();
  session.write("rm -rf /");
  session.discard();
  session.write("ls");
  const wire = await back(4, session);
  assert.deepEqual(wire.typed(), [[4, "ls"]]);
});

test("nothing is discarded while it may be on its way", async () => {
  const session = await live();
  session.write("sent");
  session.discard();
  assert.equal(session.ahead, 4);
});

test("a page that was loaded anew goes on where the proxy is", async () => {
  const session = opened({ resume: "again" });
  await settle();
  wires[0].opens();
  assert.deepEqual(JSON.parse(wires[0].sent[0]), { token: "bearer 0", resume: "again" });
  session.write("x");
  wires[0].says("s", { session: FACTS, resume: "again", window: 65536, resumed: true });
  wires[0].says("r", "", { received: 500 });
  wires[0].says("r", "there", { offset: 9000, received: 500 });
  assert.deepEqual(wires[0].typed(), [[500, "x"]]);
  wires[0].breaks();
  const wire = await back(501, session);
  assert.equal(JSON.parse(wire.sent[0]).received, 9005);
  assert.equal(screen, "there");
});

test("a page that does not draw holds up the proxy, and tells nothing twice after a loss", async () => {
  const session = await live();
  const waiting = [];
  session.shown = (_output, done) => waiting.push(done);
  const told = (wire) => Math.max(...wire.sent.slice(1).map(decode).filter(({ type }) => type === "r").map(({ received }) => received));
  wires[0].says("r", new Uint8Array(DRAWN_SOON), { offset: 0 });
  assert.equal(told(wires[0]), DRAWN_SOON);
  wires[0].says("r", new Uint8Array(50000), { offset: DRAWN_SOON });
  assert.equal(told(wires[0]), DRAWN_SOON);
  waiting.shift()();
  assert.equal(told(wires[0]), DRAWN_SOON + 50000);
  waiting.shift()();
  wires[0].says("r", new Uint8Array(100), { offset: DRAWN_SOON + 50000 });
  wires[0].breaks();
  const wire = await back(0, session);
  assert.equal(JSON.parse(wire.sent[0]).received, DRAWN_SOON + 50100);
  waiting.shift()();
  wire.says("r", new Uint8Array(50), { offset: DRAWN_SOON + 50100 });
  waiting.shift()();
  assert.equal(told(wire), DRAWN_SOON + 50150);
});

test("a proxy that knows nothing of the session any more ends it, and what was lost is told", async () => {
  const session = await live();
  session.write("important\r");
  wires[0].breaks();
  mock.timers.tick(9000);
  await settle();
  wires[1].opens();
  wires[1].says({ type: "create_session_response", status: "error", code: "gone", message: "it is gone" });
  assert.equal(session.state, "ended");
  assert.deepEqual(session.ending, {
    code: "gone", reason: "it is gone", status: null, signal: "", again: true, undelivered: "important\r",
  });
});

test("an old bearer is renewed once, then the person has to sign in", async () => {
  const session = opened();
  await settle();
  wires[0].opens();
  wires[0].says({ type: "create_session_response", status: "error", code: "bad_token", message: "who?" });
  await settle();
  wires[1].opens();
  assert.deepEqual(JSON.parse(wires[1].sent[0]), { token: "bearer 1" });
  wires[1].says({ type: "create_session_response", status: "error", code: "bad_token", message: "who?" });
  assert.equal(session.ending.code, "bad_token");
});

test("a network that went silent is noticed", async () => {
  const session = await live();
  mock.timers.tick(5000);
  assert.equal(session.state, "lost");
  await back(0, session);
  assert.equal(session.state, "live");
  wires[1].says("l", decode(wires[1].sent.filter((each) => typeof each !== "string").findLast((each) => decode(each).type === "l")).payload);
  assert.notEqual(session.latency.page, null);
  mock.timers.tick(4999);
  wires[1].says("l", { ws: 1, ssh: 12 });
  mock.timers.tick(1);
  assert.equal(session.state, "live");
  assert.equal(session.latency.server, 12);
});

test("a session that cannot be resumed ends with its connection", async () => {
  const session = opened();
  await settle();
  wires[0].opens();
  wires[0].says("s", { session: FACTS, window: 65536 });
  wires[0].breaks();
  assert.equal(session.ending.code, "lost");
  assert.equal(session.ending.again, true);
});

test("another window that took the session over is not fought with", async () => {
  const session = await live();
  wires[0].breaks(4409);
  assert.equal(session.ending.code, "taken_over");
  mock.timers.tick(60000);
  assert.equal(wires.length, 1);
});

test("a second factor is asked for and the answer sent", async () => {
  const session = opened();
  await settle();
  wires[0].opens();
  wires[0].says("n", { challenge_id: "c", totp_challenge: true });
  assert.equal(session.state, "asking");
  assert.equal(session.challenge.challenge_id, "c");
  mock.timers.tick(60000);
  assert.equal(session.state, "asking");
  session.answer({ challenge_id: "c", second_factor_token: "123456" });
  assert.deepEqual(wires[0].of("n").map((each) => JSON.parse(each)), [{ challenge_id: "c", second_factor_token: "123456" }]);
});

test("an observer's keys go nowhere", async () => {
  const session = opened();
  await settle();
  wires[0].opens();
  wires[0].says("s", { session: { ...FACTS, mode: "observer" }, resume: "again", window: 65536 });
  assert.equal(session.write("x"), false);
  assert.deepEqual(wires[0].typed(), []);
});

test("people who come and go", async () => {
  const session = await live();
  wires[0].says("a", { event: "session.join", user: "bob", mode: "observer" });
  assert.deepEqual(session.participants, [{ user: "alice", mode: "" }, { user: "bob", mode: "observer" }]);
  wires[0].says("a", { event: "session.leave", user: "alice" });
  assert.deepEqual(session.participants, [{ user: "bob", mode: "observer" }]);
});

test("typing ahead has a bound, and it is said", async () => {
  const session = await live();
  wires[0].breaks();
  assert.equal(session.write(new Uint8Array(MOST_AHEAD)), true);
  assert.equal(session.write("x"), false);
  assert.equal(session.full, true);
});

test("the end is told once, and closes for good", async () => {
  const session = await live();
  wires[0].says("c", { status: 3, signal: "", reason: "", code: "exited", again: true });
  assert.equal(session.ending.status, 3);
  assert.equal(wires[0].code, 1000);
  wires[0].breaks(1000);
  assert.equal(session.state, "ended");
  assert.equal(session.write("x"), false);
});

test("closing a tab ends the session", async () => {
  const session = await live();
  session.end();
  assert.deepEqual(wires[0].of("c"), [""]);
  assert.equal(wires[0].code, 1000);
  assert.equal(session.state, "ended");
});

test("leaving the page does not", async () => {
  const session = await live();
  session.leave();
  assert.deepEqual(wires[0].of("c"), []);
  assert.equal(wires[0].code, 4000);
});
