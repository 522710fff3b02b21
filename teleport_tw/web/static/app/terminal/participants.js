/**
 * Who is in a session, as the server tells it. Pure.
 *
 * @typedef {{user: string, mode: string}} Participant
 */

/** @param {unknown} said @returns {Participant[]} */
export function participants(said) {
  if (!Array.isArray(said)) return [];
  return said.map((each) =>
    typeof each === "string" ? { user: each, mode: "" } : { user: String(each.user ?? ""), mode: String(each.mode ?? "") },
  );
}

/**
 * @param {Participant[]} before
 * @param {{event: string, user?: string, mode?: string}} said An event of the session.
 * @returns {Participant[]} The same, where the event is of something else.
 */
export function moved(before, { event, user = "", mode = "peer" }) {
  if (event === "session.join") return [...before, { user, mode }];
  if (event !== "session.leave") return before;
  const exact = before.findIndex((each) => each.user === user && each.mode === mode);
  const gone = exact < 0 ? before.findLastIndex((each) => each.user === user) : exact;
  return before.filter((_each, index) => index !== gone);
}
