/**
 * Asks for a second factor: some servers want one with every session.
 */
import { html } from "../html.js";
import { Dialog } from "../ui/index.js";
import { SecondFactor } from "../ui/second-factor.js";

/**
 * @param {{
 *   challenge: import("../mfa.js").Challenge, where: string, problem: string,
 *   onProof: (proof: import("../mfa.js").Answer) => void, onClose: () => void
 * }} props
 */
export function Factor({ challenge, where, problem, onProof, onClose }) {
  return html`<${Dialog} title="Confirm that it is you" size="small" steady onClose=${onClose}>
    <div class="stack">
      <p class="soft">A session on ${where} needs your second factor.</p>
      <${SecondFactor} key=${challenge.challenge_id} challenge=${challenge} problem=${problem} onAnswer=${onProof} />
    </div>
  <//>`;
}
