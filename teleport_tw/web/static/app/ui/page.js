/**
 * The head of a page and what is under it.
 */
import { html, classes, useEffect, useRef } from "../html.js";
import { hasMoved } from "../router.js";
import { session } from "../state.js";

/** @typedef {import("../html.js").Children} Children */

/**
 * Title, an optional line below it, buttons at the end, and the content. It also names the window.
 * @param {{
 *   title: string, lead?: Children, actions?: Children, crumbs?: { label: string, href: string }[], narrow?: boolean, full?: boolean,
 *   children?: Children
 * }} props `narrow` for forms; `full` gives the content all of the window, for terminals
 */
export function Page({ title, lead, actions, crumbs = [], narrow = false, full = false, children }) {
  useEffect(() => {
    document.title = windowTitle(title);
  }, [title]);
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    // Whoever followed a link goes on from the new page's heading; screen readers say it. An open menu keeps its place.
    const active = document.activeElement;
    const left = !active || active === document.body || active.matches('.nav a, .menu > button[aria-expanded="false"]');
    if (hasMoved() && left) heading.current?.focus({ preventScroll: true });
  }, []);
  return html`<div class=${classes("page", narrow && "page-narrow", full && "page-full")}>
    <header class="page-head">
      <div class="page-words">
        ${crumbs.length > 0 &&
        html`<nav class="crumbs" aria-label="Breadcrumb">
          ${crumbs.map((crumb) => html`<a key=${crumb.href} href=${crumb.href}>${crumb.label}</a><span aria-hidden="true">/</span>`)}
        </nav>`}
        <h1 class="page-title" tabindex="-1" ref=${heading}>${title}</h1>
        ${lead && html`<div class="page-lead">${lead}</div>`}
      </div>
      ${actions && html`<div class="page-actions">${actions}</div>`}
    </header>
    <div class="page-body">${children}</div>
  </div>`;
}

/**
 * @param {string} title
 * @returns {string} with the cluster's name when it is known
 */
export function windowTitle(title) {
  const cluster = session.get().context?.cluster?.clusterId;
  return cluster ? `${title} · ${cluster}` : title;
}
