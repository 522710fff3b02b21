/**
 * A file that somebody wants to copy in a session which others watch: what the server told of it. Pure.
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
 * @typedef {{ asked: Asked | null, outcome: Outcome | null }} Files
 */

/** @type {Files} */
export const NOTHING = { asked: null, outcome: null };

/**
 * @param {Files} before
 * @param {any} said An event of the session.
 * @returns {Files} The same, where the event is of something else.
 */
export function heard(before, said) {
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
      return { asked: { ...known, counts: Boolean(said.counts) }, outcome: null };
    case "file_transfer_request_approve":
      if (said.granted) return over(before, id, { id, location, granted: true, reason: "" });
      return { ...before, asked: same && { ...known, counts: same.counts } };
    case "file_transfer_request_deny":
      return over(before, id, { id, location, granted: false, reason: String(said.reason ?? "") });
    default:
      return before;
  }
}

/** @param {Files} before @param {string} id @param {Outcome} outcome @returns {Files} */
function over(before, id, outcome) {
  return { asked: before.asked?.id === id ? null : before.asked, outcome };
}
