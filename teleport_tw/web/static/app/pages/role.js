/**
 * One role, as a form for what is common and as YAML for all of it.
 */
import { ApiError, api } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { useLoad } from "../load.js";
import { guardLeaving, navigate } from "../router.js";
import { toast } from "../state.js";
import { stylesheet } from "../stylesheet.js";
import { harmless } from "../text.js";
import { Button, ErrorState, Notice, Page, Skeleton, Tabs } from "../ui/index.js";
import { Allowed, Problem, refused, useSaving } from "./admin/saving.js";
import { RoleForm } from "./roles/form.js";
import { YamlEditor, useMistakes } from "./roles/yaml.js";
import { editorHref } from "./roles.js";

await stylesheet("admin");

const FRESH = {
  kind: "role",
  version: "v7",
  metadata: { name: "" },
  spec: { options: { max_session_ttl: "8h" }, allow: { logins: [], node_labels: {} }, deny: {} },
};

/** @param {any} object @returns {Promise<string>} */
async function yamlOf(object) {
  return (await api.post("/webapi/yaml/stringify/role", { resource: object })).yaml;
}

/** @param {{ params: { site: string }, query: URLSearchParams }} props */
export default function RoleEditor({ params: { site }, query }) {
  const name = query.get("name") ?? "";
  const from = query.get("from") ?? "";
  const { data, error, reload } = useLoad(
    async (signal) => {
      if (name) return api.get(`/webapi/roles/${encodeURIComponent(name)}`, { signal });
      if (!from) return { object: FRESH, yaml: "" };
      const { object } = await api.get(`/webapi/roles/${encodeURIComponent(from)}`, { signal });
      const { version, kind, spec } = object;
      return { object: { kind, version, metadata: { name: `${from}-copy` }, spec }, yaml: "" };
    },
    [name, from],
  );
  const title = name ? harmless(name, 120) : "New role";
  return html`<${Page} title=${title} narrow crumbs=${[{ label: "Roles", href: `/web/cluster/${encodeURIComponent(site)}/roles` }]}>
    ${error && !data && html`<${ErrorState} error=${error} onRetry=${reload} />`}
    ${!data && !error && html`<div class="card found"><${Skeleton} lines=${8} /></div>`}
    ${data && html`<${Editor} key=${`${name} ${data.revision}`} site=${site} name=${name} object=${data.object} yaml=${data.yaml} />`}
  <//>`;
}

/** @param {{ site: string, name: string, object: any, yaml: string }} props */
function Editor({ site, name, object: given, yaml: text }) {
  const [way, setWay] = useState("form");
  const [object, setObject] = useState(given);
  const [yaml, setYaml] = useState(text);
  const [changed, setChanged] = useState(false);
  const [turning, setTurning] = useState("");
  const { busy, problem, save, forget } = useSaving();
  const mistakes = useMistakes(way === "yaml" ? yaml : "");
  const denied = refused("role", name ? "edit" : "create", "roles");
  const preset = given.metadata?.labels?.["teleport.internal/resource-type"];
  useEffect(() => (changed ? guardLeaving(() => "The role was changed and not saved. Leave it so?") : undefined), [changed]);

  const turn = async (/** @type {string} */ wanted) => {
    setTurning("");
    forget();
    try {
      if (wanted === "yaml") setYaml(await yamlOf(object));
      else {
        const answer = await api.post("/webapi/yaml/parse/role", { yaml });
        if (!answer.resource) {
          setTurning("The form can be shown as soon as the YAML can be read.");
          return;
        }
        setObject(answer.resource);
      }
      setWay(wanted);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setTurning(error.message);
    }
  };
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const body = way === "yaml" ? { yaml } : { object };
    const saved = await save((extra) => (name ? api.put(`/webapi/roles/${encodeURIComponent(name)}`, { ...body, ...extra }) : api.post("/webapi/roles", { ...body, ...extra })));
    if (!saved) return;
    setChanged(false);
    toast(name ? `${harmless(saved.name, 80)} is saved.` : `${harmless(saved.name, 80)} is made. Give it to users.`);
    // The guard goes with the next drawing.
    setTimeout(() => navigate(name ? `/web/cluster/${encodeURIComponent(site)}/roles` : editorHref(site, saved.name)));
  };
  const unnamed = way === "form" && !object.metadata?.name;
  return html`<form class="stack" onSubmit=${go}>
    ${preset && html`<${Notice}>This role is the system’s own. When the cluster is upgraded, what the new version needs is added to it.<//>`}
    ${denied && html`<${Notice}>${denied}<//>`}
    <${Tabs}
      label="How to edit"
      chosen=${way}
      onChoose=${(/** @type {string} */ wanted) => wanted !== way && turn(wanted)}
      tabs=${[
        { key: "form", label: "Form" },
        { key: "yaml", label: "YAML" },
      ]}
    >
      ${way === "form"
        ? html`<${RoleForm}
            role=${object}
            named=${Boolean(name)}
            disabled=${Boolean(denied)}
            onChange=${(/** @type {any} */ next) => {
              setObject(next);
              setChanged(true);
            }}
          />`
        : html`<${YamlEditor}
            label="The role as YAML"
            value=${yaml}
            mistakes=${mistakes}
            readonly=${Boolean(denied)}
            onInput=${(/** @type {string} */ next) => {
              setYaml(next);
              setChanged(true);
            }}
          />`}
    <//>
    ${turning && html`<${Notice} tone="warn" live>${turning}<//>`}
    <${Problem} text=${problem} />
    <div class="form-foot">
      <${Button} href=${`/web/cluster/${encodeURIComponent(site)}/roles`}>Cancel<//>
      <${Allowed} reason=${denied} kind="primary" type="submit" busy=${busy} disabled=${unnamed || (way === "yaml" && Boolean(mistakes?.length))}>${name ? "Save" : "Make the role"}<//>
    </div>
  </form>`;
}
