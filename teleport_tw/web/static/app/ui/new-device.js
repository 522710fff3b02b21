/**
 * Setting up a second factor: which sort, then the steps of that sort. Used by sign-up and by the account page.
 */
import { html, useState } from "../html.js";
import { refusal, register, supported } from "../webauthn.js";
import { Button, Field } from "./controls.js";
import { Icon } from "./icons.js";
import { CopyButton, Notice } from "./show.js";

/**
 * `passkey` signs in by itself, `key` is a second step after the password, `app` shows codes.
 * @typedef {"passkey" | "key" | "app"} DeviceKind
 *
 * @typedef {object} Proof what a new device answered
 * @property {any} [webauthn_creation_response]
 * @property {string} [second_factor_token]
 */

/** @type {Record<DeviceKind, { icon: string, title: string, text: string, name: string }>} */
export const KINDS = {
  passkey: {
    icon: "fingerprint",
    title: "Passkey",
    text: "Fingerprint, face or PIN of this device, or a security key with a PIN. Signs you in without the password, too.",
    name: "Passkey",
  },
  key: { icon: "key", title: "Security key", text: "A key that you touch after typing your password.", name: "Security key" },
  app: { icon: "phone", title: "Authenticator app", text: "Six digits from an app on your phone, after the password.", name: "Authenticator app" },
};

/**
 * What the cluster allows and this browser can do.
 * @param {string[]} factors of `ping`: `otp`, `webauthn`
 * @param {boolean} passwordless
 * @returns {DeviceKind[]}
 */
export function kindsOf(factors, passwordless) {
  /** @type {DeviceKind[]} */
  const kinds = [];
  if (factors.includes("webauthn") && supported) kinds.push(...(passwordless ? /** @type {DeviceKind[]} */ (["passkey", "key"]) : /** @type {DeviceKind[]} */ (["key"])));
  if (factors.includes("otp")) kinds.push("app");
  return kinds;
}

/**
 * The list of sorts.
 * @param {{ kinds: DeviceKind[], onChoose: (kind: DeviceKind) => void, busy?: DeviceKind | null }} props
 */
export function KindChoice({ kinds, onChoose, busy = null }) {
  return html`<ul class="choices">
    ${kinds.map(
      (kind) => html`<li key=${kind}>
        <button class="choice" type="button" disabled=${busy !== null} onClick=${() => onChoose(kind)}>
          <span class="card-sign"><${Icon} name=${KINDS[kind].icon} /></span>
          <span class="grow"><strong>${KINDS[kind].title}</strong><span class="soft">${KINDS[kind].text}</span></span>
          ${busy === kind ? html`<span class="spinner"></span>` : html`<${Icon} name="chevronRight" size=${18} />`}
        </button>
      </li>`,
    )}
  </ul>`;
}

/**
 * The QR code and the first code of a new authenticator app.
 * @param {{ qr: string, secret: string, problem?: string, busy?: boolean, submit: string, onCode: (code: string) => void }} props
 */
export function AppSetup({ qr, secret, problem = "", busy = false, submit, onCode }) {
  const [code, setCode] = useState("");
  const grouped = secret.replace(/(.{4})(?=.)/g, "$1 ");
  return html`<form
    class="stack"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      if (!busy) onCode(code);
    }}
  >
    <p class="soft">Scan this with an authenticator app, then type the six digits it shows.</p>
    <img class="qr" src=${qr} alt="QR code for an authenticator app" width="208" height="208" />
    <details class="details">
      <summary>The camera does not work?</summary>
      <div class="row secret-key"><code class="break">${grouped}</code><${CopyButton} text=${secret} label="Copy the key" /></div>
    </details>
    <${Field}
      label="Six digits"
      class="input code-input"
      name="one-time-code"
      autocomplete="one-time-code"
      inputmode="numeric"
      maxlength="7"
      required
      value=${code}
      onInput=${(/** @type {string} */ text) => setCode(text.replace(/\D/g, "").slice(0, 6))}
    />
    ${problem && html`<${Notice} tone="bad">${problem}<//>`}
    <${Button} kind="primary" wide type="submit" busy=${busy} disabled=${code.length !== 6}>${submit}<//>
  </form>`;
}

/**
 * Has the browser register a key.
 * @param {any} options `PublicKeyCredentialCreationOptions` as JSON
 * @returns {Promise<Proof>}
 * @throws {Error} worded for people
 */
export async function registerKey(options) {
  try {
    return { webauthn_creation_response: await register(options) };
  } catch (error) {
    const text = refusal(error);
    if (text === null) throw error;
    throw new Error(text || "It was stopped.");
  }
}
