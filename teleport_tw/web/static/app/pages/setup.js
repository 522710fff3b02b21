/**
 * What is behind an invite or a reset link: a password, a second factor, recovery codes, and in.
 */
import { html, useState } from "../html.js";
import { ApiError, api, signedInAs } from "../api.js";
import { handOver, remember, session } from "../state.js";
import { navigate } from "../router.js";
import { useLoad } from "../load.js";
import { LEAST } from "../passwords.js";
import { Button, ErrorState, Loading, Notice } from "../ui/index.js";
import { Gate } from "../ui/gate.js";
import { Greeting, useCluster } from "../ui/greeting.js";
import { AppSetup, KINDS, KindChoice, kindsOf, registerKey } from "../ui/new-device.js";
import { NewPassword } from "../ui/new-password.js";
import { RecoveryCodes } from "../ui/recovery-codes.js";
import { USUAL } from "../ui/second-factor.js";
import { NAME } from "./login.js";

/** @typedef {import("../ui/new-device.js").DeviceKind} DeviceKind */

/** @param {{ params: Record<string, string> }} props */
export default function Setup({ params }) {
  const token = params.token ?? "";
  const path = `/webapi/users/password/token/${encodeURIComponent(token)}`;
  const facts = useCluster();
  const [read, setRead] = useState(false);
  const ticket = useLoad((signal) => api.get(path, { signal, open: true }), [path]);
  const error = (!ticket.data && ticket.error) || (!facts.data && facts.error);
  const cluster = facts.data?.ping.cluster_name ?? "";
  if (error && [400, 404].includes(error.status)) {
    return html`<${Gate} cluster=${cluster} title="This link has expired">
      <div class="stack">
        <p class="soft">It was used already, or it is too old. Ask whoever sent it to you for a new one.</p>
        <${Button} wide href="/web/login">I have an account: sign in<//>
      </div>
    <//>`;
  }
  if (error) {
    const again = () => (facts.data ? ticket : facts).reload();
    return html`<${Gate} cluster=${cluster} title="Set up your account"><${ErrorState} error=${error} onRetry=${again} /><//>`;
  }
  if (!facts.data || !ticket.data) return html`<div class="alone"><${Loading} /></div>`;
  const { ping, motd } = facts.data;
  if (motd && !read) return html`<${Greeting} cluster=${cluster} motd=${motd} onRead=${() => setRead(true)} />`;
  return html`<${Steps} path=${path} ping=${ping} ticket=${ticket.data} />`;
}

/** @param {{ path: string, ping: any, ticket: any }} props */
function Steps({ path, ping, ticket }) {
  const user = String(ticket.user);
  const invited = ticket.purpose !== "reset";
  const cluster = String(ping.cluster_name);
  const kinds = kindsOf(ping.auth?.second_factors ?? [], Boolean(ping.auth?.allow_passwordless));
  const [password, setPassword] = useState("");
  const [step, setStep] = useState(/** @type {"password" | "choice" | "app" | "codes" | "done"} */ ("password"));
  const [app, setApp] = useState({ qr: "", secret: "" });
  const [busy, setBusy] = useState(/** @type {DeviceKind | "password" | null} */ (null));
  const [problem, setProblem] = useState("");
  const [inside, setInside] = useState(false);
  const [codes, setCodes] = useState(/** @type {string[]} */ ([]));
  const title = invited ? `Welcome, ${user}` : `A new password for ${user}`;

  /** @param {DeviceKind | "password"} what @param {() => Promise<void>} work */
  const attempt = async (what, work) => {
    setBusy(what);
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      // The server finds the password too weak: back to where it is typed.
      if (error instanceof ApiError && error.status === 400 && /password/i.test(error.message)) setStep("password");
    } finally {
      setBusy(null);
    }
  };
  /** @param {DeviceKind | "password"} kind @param {Record<string, any>} body what it showed, and the password */
  const complete = async (kind, body) => {
    const answer = await api.put(path, body, { open: true });
    remember(NAME, user);
    if (kind !== "password") remember(USUAL, kind === "app" ? "code" : "key");
    if (answer.session) signedInAs(answer.session);
    else handOver({ user, password: body.password, kind });
    setInside(Boolean(answer.session));
    setPassword("");
    const made = answer.recovery_codes ?? [];
    setCodes(made);
    if (made.length) setStep("codes");
    else go(Boolean(answer.session));
  };
  const go = (/** @type {boolean} */ signedIn) => {
    // Whoever was signed in here before is not any more.
    if (signedIn) session.set({ status: "unknown", context: null });
    navigate(signedIn ? "/web" : "/web/login", { replace: true });
  };
  /** @param {DeviceKind} kind @param {string} [chosen] the password; empty for none */
  const choose = (kind, chosen = password) =>
    attempt(kind, async () => {
      if (kind === "app" && ticket.qrCode) {
        setApp({ qr: ticket.qrCode, secret: ticket.otpSecret });
        setStep("app");
        return;
      }
      const asked = await api.post(
        `${path}/registerchallenge`,
        { device_type: kind === "app" ? "totp" : "webauthn", passwordless: kind === "passkey" },
        { open: true },
      );
      if (kind === "app") {
        setApp({ qr: asked.qrCode, secret: asked.otpSecret });
        setStep("app");
      } else await complete(kind, { password: chosen, device_name: KINDS[kind].name, ticket: asked.id, ...(await registerKey(asked.webauthn.publicKey)) });
    });
  const next = () => {
    setProblem("");
    if (!kinds.length) attempt("password", () => complete("password", { password }));
    else if (kinds.length === 1 && kinds[0] === "app") choose("app");
    else setStep("choice");
  };
  const total = kinds.length ? 3 : 1;

  if (step === "codes") {
    return html`<${Gate} cluster=${cluster} wide title="Recovery codes" lead=${`${count(3, total)}. For the day your key or phone is gone.`}>
      <${RecoveryCodes} codes=${codes} user=${user} cluster=${cluster} done="Go to the cluster" onDone=${() => go(inside)} />
    <//>`;
  }
  if (step === "app") {
    return html`<${Gate} cluster=${cluster} title="Authenticator app" lead=${count(2, total)}>
      <${AppSetup}
        qr=${app.qr}
        secret=${app.secret}
        problem=${problem}
        busy=${busy === "app"}
        submit=${invited ? "Create the account" : "Set the password"}
        onCode=${(/** @type {string} */ code) => attempt("app", () => complete("app", { password, second_factor_token: code, device_name: KINDS.app.name }))}
      />
      <${Back} onClick=${() => setStep(kinds.length > 1 ? "choice" : "password")} />
    <//>`;
  }
  if (step === "choice") {
    return html`<${Gate} cluster=${cluster} title="Second step of your sign-in" lead=${count(2, total)}>
      <div class="stack">
        ${problem && html`<${Notice} tone="bad">${problem}<//>`}
        <${KindChoice} kinds=${kinds} busy=${busy} onChoose=${choose} />
        <p class="soft small">You can add more later, in your account settings.</p>
      </div>
      <${Back} onClick=${() => setStep("password")} />
    <//>`;
  }
  return html`<${Gate} cluster=${cluster} title=${title} lead=${count(1, total)}>
    <form
      class="stack"
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (!busy && [...password].length >= LEAST) next();
      }}
    >
      <input class="hidden" type="text" name="username" autocomplete="username" value=${user} readonly tabindex="-1" aria-hidden="true" />
      ${problem && html`<${Notice} tone="bad">${problem}<//>`}
      <${NewPassword} label=${invited ? "Choose a password" : "New password"} autofocus known=${[user, cluster]} value=${password} onInput=${setPassword} />
      <${Button} kind="primary" wide type="submit" busy=${busy === "password" || busy === "app"} disabled=${busy !== null || [...password].length < LEAST}>
        ${kinds.length ? "Continue" : invited ? "Create the account" : "Set the password"}
      <//>
      ${kinds.includes("passkey") &&
      html`<div class="or"><span>or</span></div>
        <${Button} wide icon="fingerprint" busy=${busy === "passkey"} disabled=${busy !== null} onClick=${() => choose("passkey", "")}>Use a passkey and no password<//>`}
    </form>
  <//>`;
}

/** @param {number} step @param {number} total */
function count(step, total) {
  return total > 1 ? `Step ${step} of ${total}` : undefined;
}

/** @param {{ onClick: () => void }} props */
function Back({ onClick }) {
  return html`<div class="other-ways after"><button type="button" class="link" onClick=${onClick}>Back</button></div>`;
}
