/**
 * Adding a server: one command to run there, and the page waits until it has arrived.
 */
import { ApiError, api } from "../../api.js";
import { html, useEffect, useRef, useState } from "../../html.js";
import { harmless } from "../../text.js";
import { Button, CodeBlock, Dialog, ErrorState, Icon, KeyValue, Loading, Spinner, Tabs, exactTime } from "../../ui/index.js";
import { Problem, useSaving } from "../admin/saving.js";
import { terminalHref } from "../resources/connect.js";

/** @typedef {import("./new-token.js").Made} Made */
/** @typedef {{ hostId: string, hostname: string, role: string, at: string, online: boolean }} Host */

const LOOK_MS = 2000;

/** @param {{ site: string, onClose: () => void }} props */
export function AddServer({ site, onClose }) {
  const [made, setMade] = useState(/** @type {Made | null} */ (null));
  const { busy, problem, save } = useSaving();
  const [way, setWay] = useState("start");
  const begin = async () => {
    const answer = await save((extra) => api.post("/webapi/token", { roles: ["Node"], ttl: "30m", ...extra }));
    if (answer) setMade(answer);
  };
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    begin();
  }, []);
  const hosts = useJoined(made?.handle ?? "");
  const here = hosts.some((host) => host.online);
  return html`<${Dialog}
    title="Add a server"
    size="large"
    onClose=${onClose}
    steady=${Boolean(made)}
    footer=${html`<${Button} kind=${here ? "primary" : "plain"} onClick=${onClose}>${here ? "Done" : "Close"}<//>`}
  >
    ${!made && busy && html`<${Loading} label="Making a token" />`}
    ${!made && !busy && (problem ? html`<${ErrorState} title="No token could be made" error=${problem} onRetry=${begin} />` : html`<div class="state"><${Button} kind="primary" onClick=${begin}>Make a join command<//></div>`)}
    ${made &&
    html`<div class="stack">
      <p>Run this on the server, as root. It calls the cluster from there, so no port has to be opened.</p>
      <${Tabs}
        label="How to join"
        chosen=${way}
        onChoose=${setWay}
        tabs=${[
          { key: "start", label: "Start now" },
          { key: "configure", label: "Write a configuration" },
        ]}
      >
        <${CodeBlock} text=${way === "start" ? made.command : made.configure} label="Copy the command" />
        ${way === "configure" && html`<p class="soft small after">Then start <code>teleport start -c /etc/teleport.yaml</code> as a service of the server.</p>`}
      <//>
      <${KeyValue}
        facts=${[
          { label: "Token", value: html`<code>${made.id}</code>` },
          { label: "CA pin", value: made.caPin.map((pin) => html`<div key=${pin}><code>${pin}</code></div>`) },
          { label: "Ends", value: exactTime(made.expiry) },
        ]}
      />
      <${Waiting} site=${site} hosts=${hosts} />
      <${Problem} text=${problem} />
    </div>`}
  <//>`;
}

/** @param {{ site: string, hosts: Host[] }} props */
function Waiting({ site, hosts }) {
  return html`<div class="arrivals" role="status">
    ${hosts.map((host) => html`<${Arrived} key=${host.hostId} site=${site} host=${host} />`)}
    ${!hosts.length && html`<div class="arrival"><${Spinner} /><span>Waiting for the server to join.</span></div>`}
  </div>`;
}

/** @param {{ site: string, host: Host }} props */
function Arrived({ site, host }) {
  const name = harmless(host.hostname, 80);
  const [logins, setLogins] = useState(/** @type {string[]} */ ([]));
  useEffect(() => {
    if (!host.online) return undefined;
    const stop = new AbortController();
    const path = `/webapi/sites/${encodeURIComponent(site)}/nodes`;
    api.get(path, { query: { search: host.hostId, limit: 5 }, signal: stop.signal }).then(
      ({ items }) => setLogins(items.find((/** @type {any} */ each) => each.id === host.hostId)?.sshLogins ?? []),
      () => {},
    );
    return () => stop.abort();
  }, [host.online]);
  if (!host.online) {
    return html`<div class="arrival"><${Spinner} /><span><strong>${name}</strong> has joined and is starting.</span></div>`;
  }
  const login = logins.find((each) => each !== "*");
  return html`<div class="arrival is-here">
    <span class="arrival-sign"><${Icon} name="check" size=${18} /></span>
    <span class="grow"><strong>${name}</strong> is part of the cluster.</span>
    ${login && html`<${Button} kind="primary" size="small" icon="terminal" href=${terminalHref(site, host.hostId, login)}>Open a terminal<//>`}
  </div>`;
}

/**
 * Who joined by a token, asked for until the component is gone.
 * @param {string} handle
 * @returns {Host[]}
 */
function useJoined(handle) {
  const [hosts, setHosts] = useState(/** @type {Host[]} */ ([]));
  useEffect(() => {
    if (!handle) return undefined;
    const stop = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const look = async () => {
      try {
        setHosts((await api.get(`/webapi/token/${encodeURIComponent(handle)}/joined`, { signal: stop.signal })).items);
      } catch (error) {
        if (stop.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
      }
      if (!stop.signal.aborted) timer = setTimeout(look, LOOK_MS);
    };
    look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [handle]);
  return hosts;
}
