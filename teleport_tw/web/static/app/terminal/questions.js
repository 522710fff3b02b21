/**
 * What the server asks people in a session that must be watched: whether a file may be copied, and whether who moderates
 * is there. Pure.
 *
 * The events are those of docs/protocols/joining.rst.
 */

/**
 * @typedef {object} Asked
 * @property {string} id
 * @property {string} requester
 * @property {string} location The path on the server; what acts in it is written out already.
 * @property {boolean} upload
 * @property {string[]} approvers
 * @property {string} missing Who else has to approve; empty before the first did.
 * @property {boolean} counts Whether our answer does.
 * @property {boolean | null} said Our answer; null, none yet.
 *
 * @typedef {object} Outcome Of the last one.
 * @property {string} id
 * @property {string} location
 * @property {boolean} granted
 * @property {string} reason
 *
 * @typedef {object} Questions
 * @property {Asked | null} asked
 * @property {Outcome | null} outcome
 * @property {number} present Until when we have to prove that we are there, as of `Date.now()`; 0, nobody asks.
 */

/** @type {Questions} */
export const NOTHING = { asked: null, outcome: null, present: 0 };

/**
 * @param {Questions} before
 * @param {any} said An event of the session.
 * @param {number} now
 * @returns {Questions} The same, where the event is of something else.
 */
export function heard(before, said, now) {
  if (said.event === "x-teleport-mfa-presence") return { ...before, present: now + Number(said.seconds || 0) * 1000 };
  const id = String(said.requestID ?? "");
  const location = String(said.location ?? "");
  const same = before.asked?.id === id ? before.asked : null;
  const known = {
    id,
    location,
    requester: String(said.requester ?? ""),
    upload: said.direction === "upload",
    approvers: Array.isArray(said.approvers) ? said.approvers.map(String) : [],
    missing: String(said.missing ?? ""),
    said: same?.said ?? null,
  };
  switch (said.event) {
    case "file_transfer_request":
      return { ...before, asked: { ...known, counts: Boolean(said.counts) }, outcome: null };
    case "file_transfer_request_approve":
      if (said.granted) return over(before, id, { id, location, granted: true, reason: "" });
      return { ...before, asked: same && { ...known, counts: same.counts } };
    case "file_transfer_request_deny":
      return over(before, id, { id, location, granted: false, reason: String(said.reason ?? "") });
    default:
      return before;
  }
}

/** @param {Questions} before @param {string} id @param {Outcome} outcome @returns {Questions} */
function over(before, id, outcome) {
  return { ...before, asked: before.asked?.id === id ? null : before.asked, outcome };
}
