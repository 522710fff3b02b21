/**
 * How one gets into a database: commands for one's own terminal, filled in and ready to copy.
 */
import { html, useState } from "../../html.js";
import { session } from "../../state.js";
import { harmless } from "../../text.js";
import { Button, CodeBlock, Dialog, Field, KeyValue, Select, Tabs } from "../../ui/index.js";
import { typeOf } from "./kinds.js";

/** @typedef {import("./kinds.js").Database} Database */

/** Databases that have no databases inside. */
const FLAT = ["redis"];

/** A word as a shell takes it literally. @param {string} word */
export function shellWord(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** @param {string} command @param {{ user: string, database: string, name: string }} chosen @param {string[]} more */
export function tshCommand(command, { user, database, name }, ...more) {
  const flags = [user && `--db-user=${shellWord(user)}`, database && `--db-name=${shellWord(database)}`, ...more];
  return ["tsh", command, ...flags, shellWord(name)].filter(Boolean).join(" ");
}

/** @param {{ database: Database }} props */
export function ConnectDatabase({ database }) {
  const [open, setOpen] = useState(false);
  const name = harmless(database.name);
  return html`<${Button} size="small" onClick=${() => setOpen(true)} aria-haspopup="dialog">
      Connect<span class="hidden"> to ${name}</span>
    <//>
    ${open && html`<${Commands} database=${database} onClose=${() => setOpen(false)} />`}`;
}

/** @param {{ database: Database, onClose: () => void }} props */
function Commands({ database, onClose }) {
  const { context } = session.get();
  const [way, setWay] = useState("client");
  const [user, setUser] = useState(first(database.users));
  const [inside, setInside] = useState(first(database.names));
  const proxy = String(context?.cluster?.publicURL ?? location.host);
  const chosen = { user, database: FLAT.includes(database.protocol) ? "" : inside, name: database.name };
  const login = `tsh login --proxy=${shellWord(proxy)} --user=${shellWord(context?.userName ?? "")}`;
  return html`<${Dialog} title=${`Connect to ${harmless(database.name)}`} onClose=${onClose}>
    <div class="stack">
      <${KeyValue}
        facts=${[
          { label: "Kind", value: typeOf(database) },
          { label: "About", value: harmless(database.description) },
        ]}
      />
      <div class="database-choices">
        <${Choice} label="Database user" options=${database.users} value=${user} onChange=${setUser} />
        ${!FLAT.includes(database.protocol) && html`<${Choice} label="Database" options=${database.names} value=${inside} onChange=${setInside} />`}
      </div>
      <${Tabs}
        label="How to connect"
        chosen=${way}
        onChoose=${setWay}
        tabs=${[
          { key: "client", label: "In a terminal" },
          { key: "proxy", label: "With another program" },
        ]}
      >
        <ol class="steps">
          <li><p>Sign in, unless you are already.</p><${CodeBlock} text=${login} /></li>
          ${way === "client"
            ? html`<li>
                <p>Open the database with its own client.</p>
                <${CodeBlock} text=${tshCommand("db connect", chosen)} />
              </li>`
            : html`<li>
                  <p>Bring the database to a port of your own computer. Leave this running.</p>
                  <${CodeBlock} text=${tshCommand("proxy db", chosen, "--tunnel")} />
                </li>
                <li>
                  <p>
                    It prints an address. Point your program there, without a password${user && html` and with the user <code>${harmless(user)}</code>`}.
                  </p>
                </li>`}
        </ol>
      <//>
    </div>
  <//>`;
}

/** @param {{ label: string, options: string[], value: string, onChange: (value: string) => void }} props */
function Choice({ label, options, value, onChange }) {
  const free = !options.length || options.includes("*");
  if (free) {
    return html`<${Field} label=${label} value=${value} onInput=${onChange} mono autocomplete="off" spellcheck=${false} optional=${!options.length} />`;
  }
  return html`<${Select} label=${label} value=${value} onChange=${onChange} options=${options.map((each) => ({ value: each, label: harmless(each, 64) }))} />`;
}

/** @param {string[]} options */
function first(options) {
  return options.find((each) => each !== "*") ?? "";
}
