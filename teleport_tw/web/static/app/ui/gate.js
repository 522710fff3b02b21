/**
 * The sheet in the middle: pages of somebody who is not signed in yet.
 */
import { html, classes, useEffect } from "../html.js";
import { Icon } from "./icons.js";

/** @typedef {import("../html.js").Children} Children */

/**
 * @param {{ cluster: string, title: string, lead?: Children, foot?: Children, wide?: boolean, children?: Children }} props
 */
export function Gate({ cluster, title, lead, foot, wide = false, children }) {
  useEffect(() => {
    document.title = cluster ? `${title} · ${cluster}` : title;
  }, [title, cluster]);
  return html`<main class="gate">
    <div class=${classes("gate-sheet", wide && "gate-wide")}>
      <div class="gate-brand">
        <span class="brand-sign"><${Icon} name="terminal" size=${18} /></span><span class="brand-name">${cluster}</span>
      </div>
      <div class="gate-box">
        <h1 class="gate-title">${title}</h1>
        ${lead && html`<div class="gate-lead">${lead}</div>`}
        <div class="gate-body">${children}</div>
      </div>
      ${foot && html`<div class="gate-foot">${foot}</div>`}
    </div>
  </main>`;
}
