/**
 * What the list of resources holds, as the proxy tells it, and how each kind is called.
 */

/**
 * @typedef {{ name: string, value: string }} LabelOf
 *
 * @typedef {object} Node
 * @property {"node"} kind
 * @property {string} id
 * @property {string} hostname
 * @property {string} addr
 * @property {LabelOf[]} labels
 * @property {boolean} tunnel
 * @property {string} subKind
 * @property {string[]} sshLogins
 *
 * @typedef {object} Database
 * @property {"db"} kind
 * @property {string} name
 * @property {string} description
 * @property {string} protocol
 * @property {string} type
 * @property {string} hostname
 * @property {LabelOf[]} labels
 * @property {string[]} names Of databases in it; `*`, any.
 * @property {string[]} users That one may be in it; `*`, any.
 *
 * @typedef {Node | Database} Item
 */

/**
 * @typedef {object} Kind
 * @property {string} label Of the filter.
 * @property {string} icon
 * @property {string} path Of the list, below the site.
 * @property {string} sort What it is sorted by when nobody says.
 * @property {string} search
 */

/** @type {Record<string, Kind>} */
export const KINDS = {
  all: { label: "All", icon: "", path: "resources", sort: "name:asc", search: "Search names and labels" },
  node: { label: "Servers", icon: "server", path: "nodes", sort: "hostname:asc", search: "Search servers and labels" },
  database: {
    label: "Databases",
    icon: "database",
    path: "databases",
    sort: "name:asc",
    search: "Search databases and labels",
  },
};

/** @type {Record<string, string>} */
const PROTOCOLS = {
  cockroachdb: "CockroachDB",
  mariadb: "MariaDB",
  mongodb: "MongoDB",
  mysql: "MySQL",
  postgres: "PostgreSQL",
  redis: "Redis",
};

/** @param {Item} item @returns {string} */
export function nameOf(item) {
  return item.kind === "node" ? item.hostname : item.name;
}

/** @param {Item} item @returns {string} The name of its picture. */
export function iconOf(item) {
  return item.kind === "node" ? "server" : "database";
}

/** @param {Item} item @returns {string} What it is, in a word or two. */
export function typeOf(item) {
  if (item.kind === "db") return PROTOCOLS[item.protocol] ?? item.protocol;
  return item.subKind === "teleport" ? "Server" : "OpenSSH server";
}

/** @param {Item} item @returns {string} Where it is, or what it is for. */
export function aboutOf(item) {
  if (item.kind === "db") return item.description || item.hostname;
  return item.addr;
}

/**
 * The filter language's words for labels that must all be there.
 * @param {LabelOf[]} labels
 * @returns {string}
 */
export function queryOf(labels) {
  return labels.map(({ name, value }) => `labels[${quoted(name)}] == ${quoted(value)}`).join(" && ");
}

/** @param {string} text */
function quoted(text) {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

/** A label as the address of the page has it. @param {LabelOf} label */
export function written({ name, value }) {
  return `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;
}

/** @param {string[]} texts @returns {LabelOf[]} What is not well written is left out. */
export function read(texts) {
  return texts.flatMap((text) => {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
    try {
      return name ? [{ name: decodeURIComponent(name), value: decodeURIComponent(value ?? "") }] : [];
    } catch {
      return [];
    }
  });
}
