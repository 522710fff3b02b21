/**
 * The choice and entry of a second factor: a key, a code of an app, or a recovery code.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { remember } from "../state.js";
import { ask, refusal, supported } from "../webauthn.js";
import { Button, Field } from "./controls.js";
import { Icon } from "./icons.js";
import { Notice } from "./show.js";

/**
 * `both` offers key and code side by side: before a password was checked, the server does not tell which of them a user
 * has.
 * @typedef {"key" | "code" | "recovery" | "both"} Way
 */

/** What the usual way is remembered under. */
export const USUAL = "second-factor";

/**
 * @param {{
 *   challenge: import("../mfa.js").Challenge, onAnswer: (answer: import("../mfa.js").Answer) => void, busy?: boolean, problem?: string,
 *   submit?: string, quick?: boolean, hint?: string, usual?: Way | null, recovery?: boolean
 * }} props `quick`: whoever used a key the last time is asked for it at once; `usual` is shown first, if it can be;
 *   `recovery`: a recovery code does as well
 */
export function SecondFactor({ challenge, onAnswer, busy = false, problem = "", submit = "Continue", quick = false, hint = "", usual, recovery = false }) {
  const options = challenge.webauthn_challenge?.publicKey;
  const ways = /** @type {Way[]} */ (
    [options && supported && "key", challenge.totp_challenge && "code", recovery && "recovery"].filter(Boolean)
  );
  const [way, setWay] = useState(() => first(ways, usual ?? /** @type {Way | null} */ (remember(USUAL))));
  const [code, setCode] = useState("");
  const [touching, setTouching] = useState(false);
  const [own, setOwn] = useState("");
  const stop = useRef(/** @type {AbortController | null} */ (null));
  useEffect(() => () => stop.current?.abort(), []);

  const touch = async () => {
    setOwn("");
    setTouching(true);
    stop.current = new AbortController();
    try {
      const response = await ask(options, stop.current.signal);
      remember(USUAL, "key");
      onAnswer({ challenge_id: challenge.challenge_id, webauthn_assertion_response: response });
    } catch (error) {
      const text = refusal(error);
      if (text === null) throw error;
      setOwn(text);
    } finally {
      setTouching(false);
    }
  };
  useEffect(() => {
    if (quick && way === "key") touch();
  }, []);

  const choose = (/** @type {Way} */ next) => {
    stop.current?.abort();
    setWay(next);
    setCode("");
    setOwn("");
  };
  const send = (/** @type {string} */ text) => {
    if (way === "recovery") onAnswer({ recovery_code: text.trim() });
    else {
      remember(USUAL, "code");
      onAnswer({ challenge_id: challenge.challenge_id, second_factor_token: text });
    }
  };
  const typed = (/** @type {string} */ text) => {
    const digits = text.replace(/\D/g, "").slice(0, 6);
    setCode(digits);
    if (digits.length === 6 && code.length < 6) send(digits);
  };
  const shown = own || problem;
  const others = ways.filter((other) => other !== way && (way !== "both" || other === "recovery"));
  const withCode = way === "code" || way === "both";
  if (!ways.length) return html`<${Notice} tone="warn">None of your second factors can be used here: this browser knows no security keys or passkeys.<//>`;
  return html`<form
    class="stack"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      if (!busy) send(code);
    }}
  >
    ${way === "key" &&
    html`<div class="touch">
      <span class=${touching ? "touch-sign is-waiting" : "touch-sign"}><${Icon} name="fingerprint" size=${30} /></span>
      <p>${touching ? "Follow the browser: touch your key, or use your fingerprint or PIN." : "Use your security key or passkey."}</p>
    </div>`}
    ${withCode &&
    html`<${Field}
      label="Code of your authenticator app"
      class="input code-input"
      name="one-time-code"
      autocomplete="one-time-code"
      inputmode="numeric"
      maxlength="7"
      hint=${hint}
      autofocus
      value=${code}
      onInput=${typed}
      disabled=${busy}
    />`}
    ${way === "recovery" &&
    html`<${Field}
      label="Recovery code"
      mono
      autofocus
      autocomplete="off"
      spellcheck=${false}
      hint="One of the codes you kept when you set up your account. Each works once."
      value=${code}
      onInput=${setCode}
      disabled=${busy}
    />`}
    ${shown && html`<${Notice} tone="bad">${shown}<//>`}
    ${way !== "key" &&
    html`<${Button} kind="primary" wide type="submit" busy=${busy} disabled=${code.length < 6 || touching}>${submit}<//>`}
    ${way === "both" && html`<div class="or"><span>or</span></div>`}
    ${(way === "key" || way === "both") &&
    html`<${Button}
      kind=${way === "key" ? "primary" : "plain"}
      wide
      icon=${way === "both" ? "fingerprint" : undefined}
      busy=${touching || (busy && way === "key")}
      disabled=${busy}
      onClick=${touch}
    >Use a key or passkey<//>`}
    ${others.length > 0 &&
    html`<div class="other-ways">
      ${others.map((other) => html`<button key=${other} type="button" class="link" disabled=${busy} onClick=${() => choose(other)}>${WORDS[other]}</button>`)}
    </div>`}
  </form>`;
}

/**
 * @param {Way[]} ways
 * @param {Way | null} usual
 * @returns {Way}
 */
function first(ways, usual) {
  if (usual && ways.includes(usual)) return usual;
  return ways.includes("key") && ways.includes("code") ? "both" : (ways[0] ?? "code");
}

/** @type {Record<Way, string>} */
const WORDS = {
  both: "Use a key or a code",
  key: "Use a key or passkey",
  code: "Use a code of an authenticator app",
  recovery: "Use a recovery code",
};
