/**
 * The choice and entry of a second factor: a key, a code of an app, or a recovery code.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { ask, refusal, supported } from "../webauthn.js";
import { Button, Field } from "./controls.js";
import { Icon } from "./icons.js";
import { Notice } from "./show.js";

/** @typedef {"key" | "code" | "recovery"} Way */

/**
 * @param {{
 *   challenge: import("../mfa.js").Challenge, onAnswer: (answer: import("../mfa.js").Answer) => void, busy?: boolean, problem?: string,
 *   onWay?: (way: Way) => void, submit?: string, quick?: boolean
 * }} props `quick`: ask for the key at once, without another press
 */
export function SecondFactor({ challenge, onAnswer, busy = false, problem = "", submit = "Continue", quick = false }) {
  const options = challenge.webauthn_challenge?.publicKey;
  const ways = /** @type {Way[]} */ (
    [options && supported && "key", challenge.totp_challenge && "code", "recovery"].filter(Boolean)
  );
  const [way, setWay] = useState(/** @type {Way} */ (ways[0] ?? "recovery"));
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
    else onAnswer({ challenge_id: challenge.challenge_id, second_factor_token: text });
  };
  const typed = (/** @type {string} */ text) => {
    const digits = text.replace(/\D/g, "").slice(0, 6);
    setCode(digits);
    if (digits.length === 6 && code.length < 6) send(digits);
  };
  const shown = own || problem;
  const others = ways.filter((other) => other !== way);
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
    ${way === "code" &&
    html`<${Field}
      label="Code of your authenticator app"
      class="input code-input"
      name="one-time-code"
      autocomplete="one-time-code"
      inputmode="numeric"
      maxlength="7"
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
    ${way === "key"
      ? html`<${Button} kind="primary" wide busy=${busy || touching} onClick=${touch}>Use key or passkey<//>`
      : html`<${Button} kind="primary" wide type="submit" busy=${busy} disabled=${code.length < 6}>${submit}<//>`}
    ${others.length > 0 &&
    html`<div class="other-ways">
      ${others.map((other) => html`<button key=${other} type="button" class="link" disabled=${busy} onClick=${() => choose(other)}>${WORDS[other]}</button>`)}
    </div>`}
  </form>`;
}

/** @type {Record<Way, string>} */
const WORDS = {
  key: "Use a key or passkey",
  code: "Use a code of an authenticator app",
  recovery: "Use a recovery code",
};
