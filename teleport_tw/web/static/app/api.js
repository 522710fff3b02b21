/**
 * The proxy's JSON endpoints.
 *
 * The session is a cookie that scripts cannot read; beside it goes a bearer that only this page's storage holds, so that
 * a request from elsewhere has one without the other. The bearer is renewed with the CSRF token of a second cookie.
 */
import { connection, createStore, remember, session } from "./state.js";
import { navigate, safeReturn } from "./router.js";

const BEARER = "bearer";
const WAS_IN = "signed-in";
const REQUEST_TIMEOUT = 30_000;

/** What went wrong with a request, in words for people. */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 when the proxy did not answer
   * @param {string} message
   * @param {any} [details] the body's `error` object
   */
  constructor(status, message, details = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.details = details;
  }

  /** The proxy was not reached. */
  get away() {
    return this.status === 0;
  }
}

/**
 * @typedef {object} Options
 * @property {"GET" | "POST" | "PUT" | "DELETE"} [method]
 * @property {Record<string, string | number | boolean | null | undefined>} [query] empty values are left out
 * @property {any} [body] becomes JSON
 * @property {AbortSignal} [signal]
 * @property {boolean} [open] needs no sign-in: a 401 is an answer and not the end of the session
 */

/** @returns {string} the bearer, also the first message on a WebSocket; empty when not signed in */
export function bearer() {
  try {
    return sessionStorage.getItem(BEARER) ?? "";
  } catch {
    return held;
  }
}
let held = "";

/** @param {string} value */
export function setBearer(value) {
  held = value;
  try {
    if (value) sessionStorage.setItem(BEARER, value);
    else sessionStorage.clear(); // also what terminals showed: it is not the next user's
  } catch {
    // Kept in this page only.
  }
}

/** @param {string} name */
function cookie(name) {
  for (const part of document.cookie.split("; ")) {
    if (part.startsWith(`${name}=`)) return decodeURIComponent(part.slice(name.length + 1));
  }
  return "";
}

/** @returns {string} what proves to the proxy that its own page asks */
export function csrf() {
  return cookie("__Host-csrf");
}

/**
 * One request and its JSON answer.
 * @param {string} path such as `/webapi/ping`
 * @param {Options} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function request(path, options = {}) {
  const answer = await send(path, options);
  if (answer.status === 401 && !options.open) {
    if (await renew()) {
      const again = await send(path, options);
      if (again.status !== 401) return read(again);
    }
    signedOut();
    throw new ApiError(401, "Your session has ended. Sign in again to go on.");
  }
  return read(answer);
}

/**
 * @param {string} path
 * @param {Options} options
 * @returns {Promise<Response>}
 */
async function send(path, { method = "GET", query, body, signal }) {
  const target = new URL(path, location.origin);
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") target.searchParams.set(key, String(value));
  }
  const headers = new Headers({ Accept: "application/json" });
  const token = bearer();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  if (method !== "GET") headers.set("X-CSRF-Token", csrf());
  if (body !== undefined) headers.set("Content-Type", "application/json");
  const limit = AbortSignal.timeout(REQUEST_TIMEOUT);
  try {
    const answer = await fetch(target, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: "same-origin",
      redirect: "error",
    });
    if ([502, 503, 504].includes(answer.status)) throw new TypeError("the proxy is not ready");
    connection.set("here");
    return answer;
  } catch (error) {
    if (signal?.aborted) throw error;
    awaitProxy();
    throw new ApiError(0, "The cluster does not answer. This page goes on by itself as soon as it does.");
  }
}

/**
 * @param {Response} answer
 * @returns {Promise<any>}
 */
async function read(answer) {
  const text = await answer.text();
  /** @type {any} */
  let value = {};
  try {
    value = text ? JSON.parse(text) : {};
  } catch {
    if (answer.ok) throw new ApiError(answer.status, "The cluster's answer could not be read.");
  }
  if (answer.ok) return value;
  const details = value?.error ?? {};
  throw new ApiError(answer.status, details.message ? sentence(String(details.message)) : worded(answer.status), details);
}

/** @param {number} status */
function worded(status) {
  if (status === 403) return "You may not do that.";
  if (status === 404) return "That does not exist, or you may not see it.";
  if (status === 412) return "Somebody else changed this in the meantime. Load it again and repeat your change.";
  if (status === 413) return "That is too large.";
  if (status === 429) return "That was a little fast. Wait a moment, then try again.";
  return "Something went wrong on our side.";
}

/**
 * A message of the server as a sentence.
 * @param {string} text
 */
export function sentence(text) {
  const trimmed = text.trim();
  const first = trimmed.slice(0, 1).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

export const api = {
  /** @param {string} path @param {Omit<Options, "method" | "body">} [options] */
  get: (path, options) => request(path, options),
  /** @param {string} path @param {any} [body] @param {Omit<Options, "method" | "body">} [options] */
  post: (path, body = {}, options = {}) => request(path, { ...options, method: "POST", body }),
  /** @param {string} path @param {any} [body] @param {Omit<Options, "method" | "body">} [options] */
  put: (path, body = {}, options = {}) => request(path, { ...options, method: "PUT", body }),
  /** @param {string} path @param {any} [body] @param {Omit<Options, "method" | "body">} [options] */
  del: (path, body, options = {}) => request(path, { ...options, method: "DELETE", body }),
};

/** @type {Promise<boolean> | null} */
let renewing = null;

/**
 * A new bearer for the session of the cookie: after a reload in a new tab, or when the old one has run out.
 * @returns {Promise<boolean>} whether there is a session
 */
export function renew() {
  renewing ??= (async () => {
    try {
      // Who never signed in here is not asked for; that would only be refused.
      if (!csrf() || !remember(WAS_IN)) return false;
      const answer = await send("/webapi/sessions/web/renew", { method: "POST", body: {} });
      if (!answer.ok) return false;
      signedInAs(await answer.json());
      return true;
    } finally {
      renewing = null;
    }
  })();
  return renewing;
}

/**
 * Keeps what a sign-in answered.
 * @param {{ token: string, expires_in?: number, sessionExpires?: string, sessionInactiveTimeout?: number }} answer
 */
export function signedInAs(answer) {
  setBearer(answer.token);
  remember(WAS_IN, "yes");
  expires.set(answer.sessionExpires ?? null);
}

/** Reads who is signed in; without a session it says so and does not fail. */
export async function enter() {
  if (!bearer() && !(await renew())) {
    setBearer("");
    session.set({ status: "out", context: null });
    return;
  }
  const context = await api.get("/webapi/sites/-current-/context");
  session.set({ status: "in", context });
}

/** When the session ends for good, as the server words it. */
export const expires = createStore(/** @type {string | null} */ (null));

/**
 * The session is over: to the sign-in page, and back here afterwards.
 * @param {{ left?: boolean }} [how] `left`: the user has left on purpose; whoever comes next begins at the start
 */
export function signedOut({ left = false } = {}) {
  setBearer("");
  remember(WAS_IN, null);
  if (session.get().status === "out") return;
  session.set({ status: "out", context: null });
  if (left) navigate("/web/login", { replace: true });
  else goToSignIn();
}

/** Ends the session of this browser. */
export async function signOut() {
  try {
    await api.del("/webapi/sessions/web", undefined, { open: true });
  } catch {
    // The session may be gone already; the page forgets it either way.
  }
  signedOut({ left: true });
}

/** Opens the sign-in page with the way back. */
export function goToSignIn() {
  const back = safeReturn(location.pathname + location.search);
  navigate(`/web/login${back === "/web" ? "" : `?redirect_uri=${encodeURIComponent(back)}`}`, { replace: true });
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let watching;

/** Asks for the proxy until it answers; with every failure a little later, up to 10 s. */
function awaitProxy() {
  connection.set("away");
  if (watching !== undefined) return;
  let pause = 500;
  const look = async () => {
    if (await answers()) {
      watching = undefined;
      connection.set("here");
      return;
    }
    pause = Math.min(pause * 1.7, 10_000);
    watching = setTimeout(look, pause * (0.5 + Math.random()));
  };
  watching = setTimeout(look, pause);
}

/** @returns {Promise<boolean>} whether the proxy answers now */
async function answers() {
  try {
    return (await fetch("/webapi/find", { cache: "no-store", signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
}

/**
 * Waits until the proxy answers, which may be at once; while it does not, the page says so.
 * @returns {Promise<void>}
 */
export async function reachable() {
  if (await answers()) return undefined;
  awaitProxy();
  return new Promise((resolve) => {
    const stop = connection.subscribe((now) => {
      if (now !== "here") return;
      stop();
      resolve();
    });
  });
}

/**
 * The address of a WebSocket on this proxy.
 * @param {string} path
 * @param {Record<string, string>} [query]
 */
export function socketAddress(path, query = {}) {
  const target = new URL(path, location.origin);
  target.protocol = location.protocol === "http:" ? "ws:" : "wss:";
  for (const [key, value] of Object.entries(query)) target.searchParams.set(key, value);
  return target.href;
}
