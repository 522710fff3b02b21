/**
 * Words that somebody else chose, made harmless to look at: names of servers and files, labels, titles of terminals.
 *
 * HTML is harmless already, since pages are built of text nodes. What is left are characters that act instead of being
 * seen: controls, and those that turn the direction of writing or take no room, by which one name can look like another.
 */

const ACTING = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]/g;

/**
 * @param {unknown} text
 * @param {number} [most] Characters; what is longer is cut, and the cut shown.
 * @returns {string} In which every acting character is a sign that can be seen.
 */
export function harmless(text, most = 512) {
  const said = String(text ?? "");
  const cut = said.length > most ? `${said.slice(0, most - 1)}…` : said;
  return cut.replace(ACTING, (sign) => {
    const code = sign.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : "\ufffd";
  });
}

/**
 * The same for several lines.
 * @param {string} text
 * @param {number} [most]
 * @returns {string}
 */
export function harmlessLines(text, most = 2000) {
  return harmless(text.replace(/\r\n?/g, "\n"), most).replaceAll("\u240a", "\n");
}
