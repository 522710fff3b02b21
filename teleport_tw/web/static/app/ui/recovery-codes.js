/**
 * Recovery codes, shown once.
 */
import { html, useEffect, useState } from "../html.js";
import { guardLeaving } from "../router.js";
import { Button, Checkbox } from "./controls.js";
import { CopyButton, Notice } from "./show.js";

/**
 * The codes with ways to keep them; goes on when the user says they are kept.
 * @param {{ codes: string[], user: string, cluster: string, onDone: () => void, done?: string }} props
 */
export function RecoveryCodes({ codes, user, cluster, onDone, done = "Continue" }) {
  const [kept, setKept] = useState(false);
  useEffect(() => {
    if (kept) return undefined;
    return guardLeaving(() => "The recovery codes are not shown again. Leave this page?");
  }, [kept]);
  const title = `Recovery codes of ${user} at ${cluster}, made ${new Date().toLocaleDateString()}. Each works once.`;
  const text = `${title}\n\n${codes.join("\n")}\n`;
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `recovery-codes-${cluster}.txt`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return html`<div class="stack">
    <${Notice} tone="warn">They are shown this once. Whoever has one can stand in for your second factor, so keep them like a password.<//>
    <p class="print-only">${title}</p>
    <ul class="recovery" aria-label="Recovery codes">
      ${codes.map((code) => html`<li key=${code}><code>${code}</code></li>`)}
    </ul>
    <div class="row">
      <${Button} size="small" icon="download" onClick=${save}>Download<//>
      <${Button} size="small" icon="print" onClick=${() => print()}>Print<//>
      <${CopyButton} plain text=${text} />
    </div>
    <${Checkbox} label="I have kept these codes somewhere safe" checked=${kept} onChange=${setKept} />
    <${Button} kind="primary" wide disabled=${!kept} onClick=${onDone}>${done}<//>
  </div>`;
}
