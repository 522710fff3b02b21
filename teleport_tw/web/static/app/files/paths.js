/**
 * Paths on a server, as POSIX has them.
 */

/** @param {string} folder @param {string} name */
export function joined(folder, name) {
  return folder.endsWith("/") ? `${folder}${name}` : `${folder}/${name}`;
}

/** @param {string} path @returns {string} The folder above; of `/` itself, `/`. */
export function above(path) {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(0, trimmed.lastIndexOf("/")) || "/";
}

/** @param {string} path @returns {string} What follows the last slash. */
export function nameIn(path) {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

/**
 * @param {string} path Absolute.
 * @returns {{ name: string, path: string }[]} Every folder on the way, the topmost first.
 */
export function trail(path) {
  const names = path.split("/").filter(Boolean);
  return [
    { name: "/", path: "/" },
    ...names.map((name, index) => ({ name, path: `/${names.slice(0, index + 1).join("/")}` })),
  ];
}
