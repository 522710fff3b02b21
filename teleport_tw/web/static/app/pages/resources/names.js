/**
 * Names of servers by their ids, from lists that were looked at: a terminal's tab is named before the server answers.
 */

const MOST = 5000;

/** @type {Map<string, string>} */
const hosts = new Map();

/** @param {string} id @param {string} name */
export function rememberHost(id, name) {
  if (hosts.size >= MOST) hosts.clear();
  hosts.set(id, name);
}

/** @param {string} id @returns {string} Empty when it is not known. */
export function hostOf(id) {
  return hosts.get(id) ?? "";
}
