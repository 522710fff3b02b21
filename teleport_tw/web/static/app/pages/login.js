/**
 * Signing in: name and password, then the second factor; or a passkey alone.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { ApiError, api, enter, signedInAs } from "../api.js";
import { remember, session, takeOver } from "../state.js";
import { navigate, safeReturn } from "../router.js";
import { ask, offer, refusal, supported } from "../webauthn.js";
import { Button, Checkbox, ErrorState, Field, Loading, Notice } from "../ui/index.js";
import { Gate } from "../ui/gate.js";
import { Greeting, useCluster } from "../ui/greeting.js";
import { SecondFactor } from "../ui/second-factor.js";

/** What the user name is remembered under. */
export const NAME = "sign-in-name";

/** @param {{ query: URLSearchParams }} props */
export default function Login({ query }) {
  const back = safeReturn(query.get("redirect_uri"));
  const facts = useCluster();
  const [read, setRead] = useState(false);
  const [account] = useState(takeOver);

  // Whoever is signed in already has nothing to do here.
  useEffect(() => {
    let gone = false;
    if (session.get().status === "unknown") {
      enter()
        .then(() => !gone && session.get().status === "in" && navigate(back, { replace: true }))
        .catch(() => session.get().status === "unknown" && session.set({ status: "out", context: null }));
    } else if (session.get().status === "in") navigate(back, { replace: true });
    return () => {
      gone = true;
    };
  }, []);

  if (facts.error && !facts.data) {
    return html`<${Gate} cluster="" title="Sign in"><${ErrorState} error=${facts.error} onRetry=${facts.reload} /><//>`;
  }
  if (!facts.data) return html`<div class="alone"><${Loading} /></div>`;
  const { ping, motd } = facts.data;
  if (motd && !read && !account) {
    return html`<${Greeting} cluster=${ping.cluster_name} motd=${motd} onRead=${() => setRead(true)} />`;
  }
  return html`<${Form} ping=${ping} account=${account} ended=${query.has("redirect_uri")} onDone=${() => navigate(back, { replace: true })} />`;
}

/** @param {{ ping: any, account: ReturnType<typeof takeOver>, ended: boolean, onDone: () => void }} props */
function Form({ ping, account, ended, onDone }) {
  const remembered = account?.user ?? remember(NAME) ?? "";
  const [name, setName] = useState(remembered);
  const [keep, setKeep] = useState(true);
  const [password, setPassword] = useState(account?.password ?? "");
  const [challenge, setChallenge] = useState(/** @type {import("../mfa.js").Challenge | null} */ (null));
  const [round, setRound] = useState(0);
  const [busy, setBusy] = useState(/** @type {"" | "password" | "passkey"} */ (""));
  const [problem, setProblem] = useState("");
  const passkeys = Boolean(ping.auth?.allow_passwordless) && supported;

  /** @param {Record<string, any>} body */
  const finish = async (body) => {
    signedInAs(await api.post("/webapi/mfa/login/finishsession", body, { open: true }));
    if (keep && name) remember(NAME, name);
    if (!keep) remember(NAME, null);
    await enter();
    onDone();
  };
  /** @param {"password" | "passkey"} what @param {() => Promise<void>} work */
  const attempt = async (what, work) => {
    setBusy(what);
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(worded(error));
      throw error;
    } finally {
      setBusy("");
    }
  };
  const begin = () =>
    attempt("password", async () => {
      const asked = await api.post("/webapi/mfa/login/begin", { user: name.trim() }, { open: true });
      if (asked.totp_challenge || asked.webauthn_challenge) setChallenge(asked);
      else await finish({ user: name.trim(), password });
    }).catch(() => {});
  const answer = (/** @type {import("../mfa.js").Answer} */ proof) =>
    attempt("password", () => finish({ user: name.trim(), password, ...proof })).catch(async (error) => {
      // A challenge is good for one answer; the next try gets another.
      if (!(error instanceof ApiError) || error.away) return;
      try {
        setChallenge(await api.post("/webapi/mfa/login/begin", { user: name.trim() }, { open: true }));
        setRound((old) => old + 1);
      } catch {
        setChallenge(null);
      }
    });
  // The browser offers passkeys where the user name is typed, until another way is chosen.
  const offering = useRef(/** @type {AbortController | null} */ (null));
  useEffect(() => {
    if (!passkeys || account || challenge) return undefined;
    const stop = new AbortController();
    offering.current = stop;
    offer(() => api.post("/webapi/mfa/login/begin", { passwordless: true }, { open: true, signal: stop.signal }), stop.signal)
      .then((proof) => proof && attempt("passkey", () => finish(proof)))
      .catch(() => {});
    return () => stop.abort();
  }, [Boolean(challenge)]);
  useEffect(() => {
    if (account) account.kind === "passkey" ? passkey() : begin();
  }, []);
  const passkey = () =>
    attempt("passkey", async () => {
      offering.current?.abort();
      const asked = await api.post("/webapi/mfa/login/begin", { passwordless: true }, { open: true });
      const response = await ask(asked.webauthn_challenge.publicKey);
      await finish({ challenge_id: asked.challenge_id, webauthn_assertion_response: response });
    }).catch(() => {});

  if (challenge) {
    return html`<${Gate} cluster=${ping.cluster_name} title="Second step" lead=${html`Signing in as <strong>${name.trim()}</strong>`}>
      <div class="stack">
        <${SecondFactor}
          key=${round}
          challenge=${challenge}
          busy=${busy === "password"}
          problem=${problem}
          quick=${round === 0}
          recovery
          usual=${account && (account.kind === "app" ? "code" : "key")}
          submit="Sign in"
          hint=${account?.kind === "app" && round === 0 ? "The code that you typed before is used up. Wait for the app to show the next one." : ""}
          onAnswer=${answer}
        />
        <div class="other-ways">
          <button
            type="button"
            class="link"
            onClick=${() => {
              setChallenge(null);
              setProblem("");
              setRound(0);
            }}
          >Back to name and password</button>
        </div>
      </div>
    <//>`;
  }
  return html`<${Gate} cluster=${ping.cluster_name} title="Sign in" lead=${ended ? "Sign in to go on where you were." : undefined}>
    <form
      class="stack"
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (!busy) begin();
      }}
    >
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <${Field}
        label="User name"
        name="username"
        autocomplete=${passkeys ? "username webauthn" : "username"}
        autocapitalize="none"
        spellcheck=${false}
        required
        autofocus=${!remembered}
        value=${name}
        onInput=${setName}
      />
      <${Field}
        label="Password"
        type="password"
        name="password"
        autocomplete="current-password"
        required
        autofocus=${Boolean(remembered)}
        value=${password}
        onInput=${setPassword}
      />
      <${Checkbox} label="Remember my user name" checked=${keep} onChange=${setKeep} />
      <${Button} kind="primary" wide type="submit" busy=${busy === "password"} disabled=${busy === "passkey"}>Sign in<//>
      ${passkeys &&
      html`<div class="or"><span>or</span></div>
        <${Button} wide icon="fingerprint" busy=${busy === "passkey"} disabled=${busy === "password"} onClick=${passkey}>Sign in with a passkey<//>`}
    </form>
  <//>`;
}

/** @param {unknown} error */
function worded(error) {
  const touched = refusal(error);
  if (touched !== null) return touched;
  if (error instanceof ApiError) return error.message;
  console.error(error);
  return "Something went wrong on this page. Load it again.";
}
