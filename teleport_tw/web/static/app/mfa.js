/**
 * Asking for a second factor in the middle of something: `withMfa` opens a dialog when the server wants one.
 */
import { html } from "./html.js";
import { ApiError, api } from "./api.js";
import { useLoad } from "./load.js";
import { createStore, useStore } from "./state.js";
import { SecondFactor } from "./ui/second-factor.js";
import { Dialog } from "./ui/overlays.js";
import { ErrorState, Loading } from "./ui/show.js";

/**
 * What a request carries to prove a second factor: members of its body.
 * @typedef {{ challenge_id?: string, webauthn_assertion_response?: any, second_factor_token?: string, recovery_code?: string }} Answer
 *
 * @typedef {{ challenge_id: string, totp_challenge: boolean, webauthn_challenge?: { publicKey: any } | null }} Challenge
 *
 * @typedef {"login" | "session" | "admin_action" | "manage_devices" | "headless" | "browser" | "session_presence"} Scope
 *
 * @typedef {object} Question
 * @property {Scope} scope
 * @property {{ kind: string, name: string, login?: string }} [target]
 * @property {string} [reason] a sentence above the choices
 * @property {string} [problem] why the answer before was refused
 * @property {(answer: Answer) => void} done
 * @property {() => void} cancel
 */

/** @type {import("./state.js").Store<Question | null>} */
const question = createStore(/** @type {Question | null} */ (null));

/** What a recovery code is good for, beside signing in. @type {Scope[]} */
const MENDS = ["manage_devices"];

/** The user closed the dialog; callers say nothing about it. */
export class Cancelled extends Error {
  constructor() {
    super("Cancelled.");
    this.name = "Cancelled";
  }
}

/**
 * Has the user prove a second factor.
 * @param {Omit<Question, "done" | "cancel">} asked
 * @returns {Promise<Answer>} for the body of the request that needs it
 * @throws {Cancelled}
 */
export function askMfa(asked) {
  return new Promise((resolve, reject) => {
    question.set({
      ...asked,
      done: (answer) => {
        question.set(null);
        resolve(answer);
      },
      cancel: () => {
        question.set(null);
        reject(new Cancelled());
      },
    });
  });
}

/**
 * Runs a request with a fresh proof; a wrong answer may be tried again in the same dialog.
 * @template T
 * @param {Omit<Question, "done" | "cancel" | "problem">} asked
 * @param {(answer: Answer) => Promise<T>} run
 * @returns {Promise<T>}
 */
export async function withMfa(asked, run) {
  let problem = "";
  for (;;) {
    const answer = await askMfa({ ...asked, problem });
    try {
      return await run(answer);
    } catch (error) {
      if (!(error instanceof ApiError) || !/second factor was not accepted/i.test(error.message)) throw error;
      problem = error.message;
    }
  }
}

/**
 * Runs a request of an administrator. When the cluster wants a second factor for it, it is asked for, and the request
 * is repeated with the answer in its body as `mfa`.
 * @template T
 * @param {(extra: { mfa?: Answer }) => Promise<T>} run
 * @returns {Promise<T>}
 */
export async function asAdmin(run) {
  try {
    return await run({});
  } catch (error) {
    const wanted = error instanceof ApiError && error.status === 403 && /MFA is required/i.test(error.message);
    if (!wanted) throw error;
    return withMfa({ scope: "admin_action", reason: "Changing the cluster needs your second factor." }, (answer) => run({ mfa: answer }));
  }
}

/** The dialog; rendered once, by the frame of the page. */
export function MfaDialog() {
  const asked = useStore(question);
  if (!asked) return null;
  return html`<${Dialog} size="small" title="Confirm that it is you" onClose=${asked.cancel}><${Asking} asked=${asked} /><//>`;
}

/** @param {{ asked: Question }} props */
function Asking({ asked }) {
  const { data, error, reload } = useLoad(
    /** @returns {Promise<Challenge>} */
    (signal) => {
      const body = { scope: asked.scope, ...(asked.target ? { target: asked.target } : {}) };
      return api.post("/webapi/mfa/authenticatechallenge", body, { signal });
    },
    [asked],
  );
  if (error && !data) return html`<${ErrorState} error=${error} onRetry=${reload} />`;
  if (!data) return html`<${Loading} />`;
  return html`<div class="stack">
    ${asked.reason && html`<p class="soft">${asked.reason}</p>`}
    <${SecondFactor} key=${data.challenge_id} challenge=${data} problem=${asked.problem ?? ""} recovery=${MENDS.includes(asked.scope)} onAnswer=${asked.done} />
  </div>`;
}
