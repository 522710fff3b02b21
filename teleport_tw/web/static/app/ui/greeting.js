/**
 * What somebody who is not signed in is told first: which cluster this is, and its message of the day.
 */
import { html } from "../html.js";
import { api } from "../api.js";
import { useLoad } from "../load.js";
import { Button } from "./controls.js";
import { Gate } from "./gate.js";

/**
 * `ping` of the cluster, and the message that is to be read before signing in; empty for none.
 * @returns {import("../load.js").Loaded<{ ping: any, motd: string }>}
 */
export function useCluster() {
  return useLoad(async (signal) => {
    const ping = await api.get("/webapi/ping", { signal, open: true });
    const motd = ping.auth?.has_motd ? (await api.get("/webapi/motd", { signal, open: true })).Text : "";
    return { ping, motd: String(motd ?? "") };
  }, []);
}

/** @param {{ cluster: string, motd: string, onRead: () => void }} props */
export function Greeting({ cluster, motd, onRead }) {
  return html`<${Gate} cluster=${cluster} title="Before you sign in" wide>
    <div class="stack">
      <p class="motd">${motd}</p>
      <${Button} kind="primary" wide onClick=${onRead}>I have read this<//>
    </div>
  <//>`;
}
