/**
 * How good a password is, in words. Only advice: the server has the say.
 */

export const LEAST = 12;
export const MOST = 128;

const COMMON = ["password", "passwort", "letmein", "qwerty", "azerty", "welcome", "admin", "iloveyou", "teleport", "abc123", "monkey", "dragon"];

/**
 * @typedef {{ level: 0 | 1 | 2 | 3 | 4, word: string, advice: string }} Strength
 */

/**
 * @param {string} password
 * @param {string[]} known words that an attacker tries first: the user's name, the cluster's
 * @returns {Strength}
 */
export function strength(password, known = []) {
  if (!password) return { level: 0, word: "", advice: `At least ${LEAST} characters. A few unrelated words are good.` };
  const missing = LEAST - [...password].length;
  if (missing > 0) return { level: 1, word: "Too short", advice: `${missing} more ${missing === 1 ? "character" : "characters"}.` };
  const lower = password.toLowerCase();
  for (const word of [...COMMON, ...known.map((each) => each.toLowerCase())]) {
    if (word.length > 2 && lower.includes(word) && lower.length - word.length < 8) {
      return { level: 1, word: "Weak", advice: `Too close to “${word}”, which is tried first.` };
    }
  }
  const bits = entropy(password);
  if (bits < 40) return { level: 1, word: "Weak", advice: "It repeats itself. Mix in something unrelated." };
  if (bits < 55) return { level: 2, word: "Fair", advice: "Another word would make it much stronger." };
  if (bits < 75) return { level: 3, word: "Good", advice: "Hard to guess." };
  return { level: 4, word: "Strong", advice: "Very hard to guess." };
}

/**
 * A rough count of bits: of the alphabet that is used, for each character that does not follow from the one before.
 * @param {string} text
 */
function entropy(text) {
  let alphabet = 0;
  if (/[a-z]/.test(text)) alphabet += 26;
  if (/[A-Z]/.test(text)) alphabet += 26;
  if (/[0-9]/.test(text)) alphabet += 10;
  if (/[^a-zA-Z0-9]/.test(text)) alphabet += 24;
  const seen = new Set();
  let fresh = 0;
  let before = 0;
  for (const letter of text) {
    const code = letter.codePointAt(0) ?? 0;
    const follows = Math.abs(code - before) <= 1;
    fresh += follows ? 0.2 : seen.has(code) ? 0.7 : 1;
    seen.add(code);
    before = code;
  }
  return fresh * Math.log2(Math.max(alphabet, 2));
}
