/**
 * The pages. A page is one line in `PAGES`: its address, its module, and where it stands in the navigation.
 *
 * A module's default export is a component; it gets `params` (from the pattern) and `query` (`URLSearchParams`).
 */
import { fill } from "../router.js";
import { session } from "../state.js";

/**
 * @typedef {object} PageEntry
 * @property {string} path pattern; `:site` is the cluster's name
 * @property {() => Promise<{ default: (props: any) => any }>} load
 * @property {boolean} [open] is shown without a sign-in, and without the frame
 * @property {boolean} [full] takes the whole window: terminals
 * @property {{ label: string, icon: string, section: "" | "Activity" | "Management", kind?: string }} [nav]
 *   `kind`: is shown only to those who may list it
 */

/** @type {PageEntry[]} */
export const PAGES = [
  {
    path: "/web/cluster/:site/resources",
    load: () => import("./resources.js"),
    nav: { label: "Resources", icon: "server", section: "" },
  },
  {
    path: "/web/cluster/:site/sessions",
    load: () => import("./sessions.js"),
    nav: { label: "Active sessions", icon: "users", section: "Activity" },
  },
  {
    path: "/web/cluster/:site/recordings",
    load: () => import("./recordings.js"),
    nav: { label: "Recordings", icon: "history", section: "Activity", kind: "session" },
  },
  { path: "/web/cluster/:site/session/:sid", load: () => import("./player.js") },
  {
    path: "/web/cluster/:site/audit",
    load: () => import("./audit.js"),
    nav: { label: "Audit log", icon: "audit", section: "Activity", kind: "event" },
  },
  {
    path: "/web/cluster/:site/users",
    load: () => import("./users.js"),
    nav: { label: "Users", icon: "user", section: "Management", kind: "user" },
  },
  {
    path: "/web/cluster/:site/roles",
    load: () => import("./roles.js"),
    nav: { label: "Roles", icon: "role", section: "Management", kind: "role" },
  },
  { path: "/web/cluster/:site/roles/edit", load: () => import("./role.js") },
  {
    path: "/web/cluster/:site/tokens",
    load: () => import("./tokens.js"),
    nav: { label: "Join tokens", icon: "token", section: "Management", kind: "token" },
  },
  {
    path: "/web/cluster/:site/locks",
    load: () => import("./locks.js"),
    nav: { label: "Locks", icon: "lock", section: "Management", kind: "lock" },
  },
  { path: "/web/cluster/:site/console", load: () => import("./console.js"), full: true },
  { path: "/web/cluster/:site/console/node/:server/:login", load: () => import("./console.js"), full: true },
  { path: "/web/cluster/:site/console/session/:sid", load: () => import("./console.js"), full: true },
  { path: "/web/login", load: () => import("./login.js"), open: true },
  { path: "/web/invite/:token", load: () => import("./setup.js"), open: true },
  { path: "/web/reset/:token", load: () => import("./setup.js"), open: true },
  { path: "/web/account", load: () => import("./account.js") },
  { path: "/web/headless/:id", load: () => import("./headless.js") },
  { path: "/web/tap/:id", load: () => import("./tap.js") },
  { path: "/web/browser/:id", load: () => import("./browser.js") },
];

/**
 * What the navigation shows to the signed-in user.
 * @param {string} cluster
 * @returns {{ label: string, items: { label: string, icon: string, href: string }[] }[]}
 */
export function navigation(cluster) {
  const acl = session.get().context?.acl ?? {};
  /** @type {Map<string, { label: string, icon: string, href: string }[]>} */
  const sections = new Map();
  for (const { path, nav } of PAGES) {
    if (!nav || (nav.kind && !acl[nav.kind]?.list)) continue;
    const items = sections.get(nav.section) ?? [];
    items.push({ label: nav.label, icon: nav.icon, href: fill(path, { site: cluster }) });
    sections.set(nav.section, items);
  }
  return [...sections].map(([label, items]) => ({ label, items }));
}

/**
 * The first page that the navigation offers; where a sign-in leads.
 * @param {string} cluster
 * @returns {string}
 */
export function home(cluster) {
  return navigation(cluster)[0]?.items[0]?.href ?? "/web/account";
}
