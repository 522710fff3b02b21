/**
 * Envelopes of a terminal's WebSocket, and the positions by which no byte is lost with a connection.
 * The layout and the rules are in docs/protocols/terminal.rst.
 */

const text = new TextEncoder();
const words = new TextDecoder();

/** Largest payload of one raw message, in bytes. */
export const PIECE = 32 * 1024;

/**
 * @typedef {object} Envelope
 * @property {string} type One letter.
 * @property {Uint8Array} payload
 * @property {number} offset Raw bytes before the payload.
 * @property {number} received Raw bytes of the other direction that the sender has.
 * @property {number} ms In a player: since the session began.
 */

/** @param {number} value Up to 2^53. @param {number[]} out */
function putVarint(value, out) {
  while (value > 127) {
    out.push((value % 128) | 128);
    value = Math.floor(value / 128);
  }
  out.push(value);
}

/**
 * @param {string} type
 * @param {Uint8Array | string | object} [payload] Objects become JSON.
 * @param {{offset?: number, received?: number}} [positions]
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encode(type, payload = "", { offset = 0, received = 0 } = {}) {
  const body =
    payload instanceof Uint8Array
      ? payload
      : text.encode(typeof payload === "string" ? payload : JSON.stringify(payload));
  /** @type {number[]} */
  const head = [0x0a, 1, 0x31, 0x12, type.length, ...text.encode(type)];
  if (offset) {
    head.push(0x20);
    putVarint(offset, head);
  }
  if (received) {
    head.push(0x28);
    putVarint(received, head);
  }
  if (body.length) {
    head.push(0x1a);
    putVarint(body.length, head);
  }
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

/**
 * @param {ArrayBuffer | Uint8Array} data One binary message.
 * @returns {Envelope}
 * @throws {RangeError} It is cut short, or no envelope.
 */
export function decode(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  /** @type {Envelope} */
  const found = { type: "", payload: new Uint8Array(0), offset: 0, received: 0, ms: 0 };
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; at < bytes.length && scale < 2 ** 63; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new RangeError("the message is cut short");
  };
  const field = () => {
    const end = varint() + at;
    if (end > bytes.length) throw new RangeError("the message is cut short");
    const part = bytes.subarray(at, end);
    at = end;
    return part;
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag === 0x12) found.type = words.decode(field());
    else if (tag === 0x1a) found.payload = field();
    else if (tag === 0x20) found.offset = varint();
    else if (tag === 0x28) found.received = varint();
    else if (tag === 0x30) found.ms = varint();
    else if ((tag & 7) === 2) field();
    else if ((tag & 7) === 0) varint();
    else throw new RangeError("the message is no envelope");
  }
  return found;
}

/** @param {Envelope} envelope @returns {any} Its payload as JSON. */
export function json(envelope) {
  return JSON.parse(words.decode(envelope.payload));
}

/**
 * What was typed and the proxy has not told of yet. `send` puts one message on the WebSocket there is now; between two
 * of them nothing is sent, and `resumed` sends again what the proxy does not have.
 */
export class Outbox {
  /** @param {(message: Uint8Array<ArrayBuffer>) => void} send */
  constructor(send) {
    this.send = send;
    this.window = 64 * 1024;
    this.open = false;
    /** Raw bytes of the proxy that the terminal has shown. */
    this.shown = 0;
    /** @type {Uint8Array[]} */
    this.kept = [];
    this.start = 0; // position of the first kept byte
    this.size = 0; // bytes kept
    this.next = 0; // position of the first byte that is not on its way
    this.told = 0; // what `shown` was when it was last told
  }

  /** @param {string | Uint8Array} typed */
  write(typed) {
    const bytes = typeof typed === "string" ? text.encode(typed) : typed;
    for (let at = 0; at < bytes.length; at += PIECE) this.kept.push(bytes.slice(at, at + PIECE));
    this.size += bytes.length;
    this.flush();
  }

  /** The terminal has shown `count` bytes more. @param {number} count */
  took(count) {
    this.shown += count;
    if (this.open && this.shown - this.told >= 16 * 1024) this.tell();
  }

  /** Tell what was shown; to be called also when the terminal has nothing more to show. */
  tell() {
    if (!this.open || this.told === this.shown) return;
    this.told = this.shown;
    this.send(encode("r", "", { offset: this.next, received: this.shown }));
  }

  /** The proxy has `received` bytes of ours. @param {number} received */
  acknowledged(received) {
    while (this.kept.length && this.start + this.kept[0].length <= received) {
      const gone = this.kept.shift()?.length ?? 0;
      this.start += gone;
      this.size -= gone;
    }
    this.flush(received);
  }

  /** The session stands, for the first time or again. @param {number} window @param {number} received */
  resumed(window, received) {
    this.window = window;
    this.open = true;
    this.next = Math.max(received, this.start);
    this.told = -1;
    this.acknowledged(received);
    this.tell();
  }

  /**
   * What is kept goes on from a position of the proxy's: this page did not see the session's beginning, or what it
   * wrote before was discarded. @param {number} received
   */
  begin(received) {
    this.start = this.next = received;
  }

  /** Forget what is kept; `begin` has to follow before anything is sent. */
  discard() {
    this.kept = [];
    this.size = 0;
  }

  /** What is kept, as text. */
  text() {
    const decoder = new TextDecoder();
    return this.kept.map((piece) => decoder.decode(piece, { stream: true })).join("");
  }

  /** The WebSocket is gone; what is written is kept. */
  lost() {
    this.open = false;
  }

  /** Whether something typed has not reached the server yet. */
  get waiting() {
    return this.size > 0;
  }

  /** @param {number} [received] */
  flush(received = this.start) {
    if (!this.open) return;
    let position = this.start;
    for (const piece of this.kept) {
      const end = position + piece.length;
      if (end > this.next) {
        if (end - received > this.window) return;
        const part = piece.subarray(this.next - position);
        this.send(encode("r", part, { offset: this.next, received: this.shown }));
        this.told = this.shown;
        this.next = end;
      }
      position = end;
    }
  }
}
