/**
 * Security keys and passkeys: options from the server's JSON, credentials back to JSON.
 *
 * Browsers learnt `parseRequestOptionsFromJSON` and `toJSON` only lately, so both are spelled out here.
 * @see WebAuthn Level 3, sections 5.1.8 and 5.1.10
 */

/** Can this browser talk to security keys at all? */
export const supported = typeof PublicKeyCredential === "function" && Boolean(navigator.credentials);

/** @param {string} text base64url */
function decode(text) {
  const padded = text.replace(/-/g, "+").replace(/_/g, "/");
  return Uint8Array.from(atob(padded), (letter) => letter.charCodeAt(0)).buffer;
}

/** @param {ArrayBuffer} buffer */
function encode(buffer) {
  let text = "";
  for (const octet of new Uint8Array(buffer)) text += String.fromCharCode(octet);
  return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** @param {any[] | undefined} list */
function decodeIds(list) {
  return list?.map((each) => ({ ...each, id: decode(each.id) }));
}

/**
 * Has the user touch a key.
 * @param {any} options `PublicKeyCredentialRequestOptions` as JSON
 * @param {AbortSignal} [signal]
 * @param {"optional" | "conditional"} [mediation] conditional: among what the browser offers to fill in, and nothing is asked
 * @returns {Promise<any>} `PublicKeyCredential` as JSON
 */
export async function ask(options, signal, mediation = "optional") {
  const found = /** @type {PublicKeyCredential | null} */ (
    await navigator.credentials.get({
      signal,
      mediation,
      publicKey: { ...options, challenge: decode(options.challenge), allowCredentials: decodeIds(options.allowCredentials) },
    })
  );
  if (!found) throw new DOMException("no key answered", "NotAllowedError");
  const response = /** @type {AuthenticatorAssertionResponse} */ (found.response);
  return {
    ...shared(found),
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      authenticatorData: encode(response.authenticatorData),
      signature: encode(response.signature),
      ...(response.userHandle ? { userHandle: encode(response.userHandle) } : {}),
    },
  };
}

/** A challenge is renewed before the server forgets it; nobody looks at a sign-in page for longer than this many. */
const RENEWED_MS = 4 * 60 * 1000;
const MOST_RENEWED = 15;

/**
 * Has the browser offer passkeys where the user name is typed, where it can.
 * @param {() => Promise<any>} begin gets a challenge
 * @param {AbortSignal} signal another way was chosen
 * @returns {Promise<any>} the proof for the body of the request; null, the browser cannot or the user did not
 */
export async function offer(begin, signal) {
  if (!supported || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return null;
  for (let round = 0; round < MOST_RENEWED && !signal.aborted; round += 1) {
    const asked = await begin();
    const ended = new AbortController();
    const end = () => ended.abort();
    const timer = setTimeout(end, RENEWED_MS);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    try {
      const response = await ask(asked.webauthn_challenge.publicKey, ended.signal, "conditional");
      return { challenge_id: asked.challenge_id, webauthn_assertion_response: response };
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }
  return null;
}

/**
 * Has the user register a key.
 * @param {any} options `PublicKeyCredentialCreationOptions` as JSON
 * @returns {Promise<any>} `PublicKeyCredential` as JSON
 */
export async function register(options) {
  const made = /** @type {PublicKeyCredential | null} */ (
    await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: decode(options.challenge),
        user: { ...options.user, id: decode(options.user.id) },
        excludeCredentials: decodeIds(options.excludeCredentials),
      },
    })
  );
  if (!made) throw new DOMException("no key answered", "NotAllowedError");
  const response = /** @type {AuthenticatorAttestationResponse} */ (made.response);
  return {
    ...shared(made),
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      attestationObject: encode(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    },
  };
}

/** @param {PublicKeyCredential} credential */
function shared(credential) {
  return {
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

const UNTRUSTED =
  "The browser lets keys answer only where it trusts the site's certificate. Have it trust this cluster's, or choose an authenticator app.";

/**
 * What the browser says when a key does not answer, for people.
 * @param {unknown} error
 * @returns {string | null} null for what is no refusal of a key
 */
export function refusal(error) {
  if (!(error instanceof DOMException)) return null;
  if (error.name === "InvalidStateError") return "This key is registered already.";
  if (error.name === "SecurityError") return "Keys of this cluster work only at its own address.";
  if (error.name === "AbortError") return "";
  if (/certificate/i.test(error.message)) return UNTRUSTED;
  return "No key answered. Try again, or choose another way.";
}
