/**
 * Events in words: what happened, in one line; and the names of events, in groups.
 */
import { harmless } from "../../text.js";

/** @typedef {Record<string, any>} Event As it is stored. */

/** @type {Record<string, { label: string, names: string[] }>} */
export const GROUPS = {
  signins: { label: "Sign-ins", names: ["user.login", "mfa_auth_challenge.validate", "mfa_auth_challenge.create", "client.disconnect", "auth"] },
  accounts: {
    label: "Accounts",
    names: [
      "user.create", "user.update", "user.delete", "user.password_change", "reset_password_token.create", "mfa.add", "mfa.rename", "mfa.delete",
      "recovery_code.generated", "recovery_code.used", "privilege_token.create",
    ],
  },
  sessions: {
    label: "Sessions",
    names: [
      "session.start", "session.end", "session.join", "session.leave", "session.rejected", "session.data", "session.upload",
      "session.recording.access", "exec", "port", "subsystem", "x11-forward",
    ],
  },
  files: { label: "Files", names: ["sftp", "sftp_summary", "scp", "file_transfer_request", "file_transfer_request_approve", "file_transfer_request_deny"] },
  databases: {
    label: "Databases",
    names: [
      "db.session.start", "db.session.end", "db.session.query", "db.session.query.failed", "db.session.result", "db.create", "db.update", "db.delete",
    ],
  },
  cluster: {
    label: "Cluster",
    names: [
      "role.created", "role.updated", "role.deleted", "lock.created", "lock.deleted", "join_token.create", "join_token.delete", "instance.join",
      "cert.create", "auth_preference.update", "cluster_networking_config.update", "session_recording_config.update", "bot.create", "bot.join",
    ],
  },
};

/** Names of events that somebody may look for. */
export const NAMES = Object.values(GROUPS).flatMap(({ names }) => names).sort();

/** @param {Event} event @returns {string} Of the group's picture. */
export function iconOf({ event = "" }) {
  if (event.startsWith("db.")) return "database";
  if (GROUPS.files?.names.includes(event)) return "file";
  if (event.startsWith("mfa") || event.startsWith("recovery")) return "fingerprint";
  if (event.startsWith("lock")) return "lock";
  if (event.startsWith("role")) return "role";
  if (event.startsWith("join_token")) return "token";
  if (event.startsWith("instance") || event.startsWith("cert")) return "server";
  if (event === "user.login" || event === "auth") return "join";
  if (event.startsWith("user") || event.startsWith("reset") || event.startsWith("bot")) return "user";
  if (event.startsWith("session") || event === "exec" || event === "port" || event === "resize") return "terminal";
  return "audit";
}

/** @param {Event} event */
export function failed({ success, code = "" }) {
  return success === false || /[EW]$/.test(code);
}

/** @param {unknown} text @param {number} [most] */
const say = (text, most = 80) => harmless(text ?? "", most);

/** @param {Event} event */
const who = (event) => say(event.user_kind === 3 ? "The cluster" : (event.user ?? "Somebody"));

/** @param {Event} event */
const whom = (event) => (event.user_kind === 3 ? "the cluster" : who(event));

/** @param {Event} event */
const where = (event) => say(event.server_hostname ?? event.server_id ?? "a server");

/** What is done with a file over SFTP, by the number of the action. @type {Record<number, string>} */
const DONE = {
  1: "opened", 2: "closed", 3: "read", 4: "wrote", 7: "changed the attributes of", 8: "changed the attributes of",
  9: "opened the folder", 10: "listed", 11: "deleted", 12: "made the folder", 13: "deleted the folder", 16: "renamed",
  17: "followed the link", 18: "linked", 19: "linked",
};

/** @type {Record<string, (event: Event) => string>} */
const SAID = {
  "user.login": (event) => (event.success === false ? `${who(event)} could not sign in: ${say(event.error ?? event.message ?? "refused", 160)}` : `${who(event)} signed in`),
  "user.create": (event) => `User ${say(event.name)} was added by ${whom(event)}`,
  "user.update": (event) => `User ${say(event.name)} was changed by ${whom(event)}`,
  "user.delete": (event) => `User ${say(event.name)} was deleted by ${whom(event)}`,
  "user.password_change": (event) => `${who(event)} chose a new password`,
  "reset_password_token.create": (event) => `A link to set up ${say(event.name)} was made by ${whom(event)}`,
  "mfa.add": (event) => (event.success === false ? `A new second factor of ${who(event)} was refused: ${say(event.error ?? "", 160)}` : `${who(event)} added the second factor ${say(event.mfa_device_name)}`),
  "mfa.rename": (event) => `${who(event)} renamed the second factor ${say(event.previous_name)} to ${say(event.mfa_device_name)}`,
  "mfa.delete": (event) => `${who(event)} removed the second factor ${say(event.mfa_device_name)}`,
  "mfa_auth_challenge.create": (event) => `${who(event)} was asked for a second factor`,
  "mfa_auth_challenge.validate": (event) => (event.success === false ? `The second factor of ${who(event)} was refused` : `${who(event)} proved a second factor`),
  "recovery_code.generated": (event) => `${who(event)} got new recovery codes`,
  "recovery_code.used": (event) => `${who(event)} used a recovery code`,
  "session.start": (event) => `${who(event)} began a session as ${say(event.login)} on ${where(event)}`,
  "session.end": (event) => `The session of ${who(event)} on ${where(event)} ended`,
  "session.join": (event) => `${who(event)} joined a session on ${where(event)}`,
  "session.leave": (event) => `${who(event)} left a session on ${where(event)}`,
  "session.rejected": (event) => `A session of ${who(event)} was refused: ${say(event.reason ?? "", 160)}`,
  "session.data": (event) => `The session of ${who(event)} on ${where(event)} moved ${say(event.tx ?? 0)} bytes out, ${say(event.rx ?? 0)} in`,
  "session.upload": (event) => `The recording of session ${say(String(event.sid ?? "").slice(0, 8))} was stored`,
  "session.recording.access": (event) => `${who(event)} opened the recording of session ${say(String(event.sid ?? "").slice(0, 8))}`,
  exec: (event) => `${who(event)} ran ${say(event.command, 160)} on ${where(event)}${event.exitCode && event.exitCode !== "0" ? `, exit code ${say(event.exitCode)}` : ""}`,
  resize: (event) => `The terminal of ${who(event)} on ${where(event)} became ${say(String(event.size ?? "").replace(":", " × "))}`,
  subsystem: (event) => `${who(event)} asked for ${say(event.name)} on ${where(event)}`,
  file_transfer_request: (event) => `${say(event.requester ?? event.user)} asked to copy ${say(event.location ?? "a file", 160)} in a watched session`,
  file_transfer_request_approve: (event) => `${who(event)} approved of copying ${say(event.location ?? "a file", 160)}`,
  file_transfer_request_deny: (event) => `Copying ${say(event.location ?? "a file", 160)} was denied`,
  port: (event) => `${who(event)} forwarded a port by way of ${where(event)}`,
  sftp: (event) => {
    const path = say(event.path ?? "files", 160);
    return event.success === false || event.error
      ? `${who(event)} could not reach ${path} on ${where(event)}: ${say(event.error ?? "refused", 160)}`
      : `${who(event)} ${DONE[event.action] ?? "looked at"} ${path} on ${where(event)}`;
  },
  scp: (event) => `${who(event)} copied ${say(event.path ?? "files", 160)} on ${where(event)}`,
  "client.disconnect": (event) => `${who(event)} was disconnected: ${say(event.reason ?? "", 160)}`,
  auth: (event) => `${who(event)} was refused on ${where(event)}: ${say(event.error ?? "", 160)}`,
  "db.session.start": (event) =>
    event.success === false ? `${who(event)} was refused by database ${say(event.db_service)}: ${say(event.error ?? "", 160)}` : `${who(event)} connected to database ${say(event.db_service)} as ${say(event.db_user)}`,
  "db.session.end": (event) => `The session of ${who(event)} in database ${say(event.db_service)} ended`,
  "db.session.query": (event) => `${who(event)} in ${say(event.db_service)}: ${say(event.db_query, 200)}`,
  "db.session.query.failed": (event) => `A statement of ${who(event)} in ${say(event.db_service)} failed: ${say(event.error ?? event.db_query, 160)}`,
  "role.created": (event) => `Role ${say(event.name)} was made by ${whom(event)}`,
  "role.updated": (event) => `Role ${say(event.name)} was changed by ${whom(event)}`,
  "role.deleted": (event) => `Role ${say(event.name)} was deleted by ${whom(event)}`,
  "lock.created": (event) => `A lock was put by ${whom(event)}`,
  "lock.deleted": (event) => `A lock was lifted by ${whom(event)}`,
  "join_token.create": (event) => `A join token for ${say((event.roles ?? []).join(", "))} was made by ${whom(event)}`,
  "join_token.delete": (event) => `A join token was revoked by ${whom(event)}`,
  "instance.join": (event) => (event.success === false ? `${say(event.node_name ?? "A host")} could not join` : `${say(event.node_name ?? "A host")} joined as ${say(event.role)}`),
  "cert.create": (event) => `A certificate was issued to ${say(event.identity?.user ?? event.user)}`,
};

/** @param {Event} event @returns {string} What happened. */
export function worded(event) {
  const say = SAID[event.event];
  if (say) return say(event);
  const name = harmless(event.event ?? "event", 80).replace(/[._]/g, " ");
  return `${who(event)}: ${name}${event.name ? ` ${harmless(event.name, 80)}` : ""}`;
}
