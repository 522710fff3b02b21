/**
 * My account: password, second factors, recovery codes, where I am signed in, and how the page looks.
 */
import { html } from "../html.js";
import { api } from "../api.js";
import { session, theme, useStore } from "../state.js";
import { useLoad } from "../load.js";
import { Badge, Page, Segments } from "../ui/index.js";
import { Devices } from "./account/devices.js";
import { Password } from "./account/password.js";
import { SignIns } from "./account/sign-ins.js";

export default function Account() {
  const { context } = useStore(session);
  const chosen = useStore(theme);
  const ping = useLoad((signal) => api.get("/webapi/ping", { signal, open: true }), []);
  const devices = useLoad((signal) => api.get("/webapi/mfa/devices", { signal }), []);
  const signIns = useLoad((signal) => api.get("/webapi/sessions/mine", { signal }), []);
  const name = context?.userName ?? "";
  return html`<${Page}
    narrow
    title="Account settings"
    lead=${html`<span class="row">Signed in as <strong class="break">${name}</strong> ${(context?.roles ?? []).map((role) => html`<${Badge} key=${role}>${role}<//>`)}</span>`}
  >
    <div class="stack">
      <${Password}
        devices=${devices}
        onChanged=${() => {
          devices.reload();
          signIns.reload();
        }}
      />
      <${Devices} devices=${devices} auth=${ping.data?.auth ?? null} user=${name} cluster=${context?.cluster?.clusterId ?? ""} />
      <${SignIns} loaded=${signIns} />
      <section class="card">
        <div class="card-head">
          <div class="grow"><h2>Appearance</h2><p>For this browser.</p></div>
          <${Segments}
            label="Theme"
            value=${chosen}
            onChange=${(/** @type {any} */ value) => theme.set(value)}
            options=${[
              { value: "system", label: "System", icon: "monitor" },
              { value: "light", label: "Light", icon: "sun" },
              { value: "dark", label: "Dark", icon: "moon" },
            ]}
          />
        </div>
      </section>
    </div>
  <//>`;
}
