/**
 * The icons: 20×20, one stroke of 1.6, drawn in the colour of the text around them.
 */
import { html, classes } from "../html.js";

/** @type {Record<string, string>} */
const PATHS = {
  alert: "M10 3.2 18 16.8H2zM10 8v4M10 14.4v.2",
  arrowLeft: "M16 10H4M9 5l-5 5 5 5",
  arrowRight: "M4 10h12M11 5l5 5-5 5",
  audit: "M5 2.8h7l3.5 3.5v10.9H5zM12 2.8v3.5h3.5M7.5 10h5M7.5 13h5",
  bell: "M5 14V9a5 5 0 0 1 10 0v5l1.2 1.4H3.8zM8.5 17.4h3",
  check: "M4 10.5 8 14.5 16 5.5",
  chevronDown: "M5.5 8 10 12.5 14.5 8",
  chevronLeft: "M12.5 5 7.5 10l5 5",
  chevronRight: "M7.5 5l5 5-5 5",
  chevronUp: "M5.5 12 10 7.5l4.5 4.5",
  clock: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 6v4.2l2.8 1.6",
  close: "M5 5l10 10M15 5 5 15",
  columns: "M3 4h14v12H3zM10 4v12",
  copy: "M7 7h9v10H7zM4 13V3h9",
  database: "M4 5.5C4 4 6.7 3 10 3s6 1 6 2.5S13.3 8 10 8 4 7 4 5.5zM4 5.5v9C4 16 6.7 17 10 17s6-1 6-2.5v-9M4 10c0 1.5 2.7 2.5 6 2.5s6-1 6-2.5",
  download: "M10 3v9.5M6 9l4 4 4-4M3.5 16.5h13",
  edit: "M4 16l.8-3.4L13.4 4 16 6.6l-8.6 8.6zM11.5 6l2.5 2.5",
  external: "M11 4h5v5M16 4l-7.5 7.5M14 11.5V16H4V6h4.5",
  eye: "M2.5 10S5 4.8 10 4.8 17.5 10 17.5 10 15 15.2 10 15.2 2.5 10 2.5 10zM10 7.8a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4z",
  eyeOff: "M3 3l14 14M8 5.1a7 7 0 0 1 2-.3c5 0 7.5 5.2 7.5 5.2a13 13 0 0 1-2.2 2.9M5.2 6.7A12.6 12.6 0 0 0 2.5 10s2.500 5.200 7.500 5.200a7 7 0 0 0 3.200-.8",
  file: "M5 2.800h7l3.500 3.500v10.900H5zM12 2.800v3.500h3.500",
  filter: "M3 4.500h14l-5.500 6.300v5.200l-3-1.500v-3.700z",
  fingerprint: "M5.500 15.500c.8-1.600 1-3.300 1-5.500a3.500 3.500 0 0 1 7 0c0 2.600-.2 4.600-1 6.500M10 10c0 3-.4 5-1.500 7M3.600 12.500c.2-.8.300-1.600.3-2.500a6.100 6.100 0 0 1 9.400-5.100M15.800 8.200c.2.600.3 1.200.3 1.800 0 1.700-.1 3-.300 4.200",
  folder: "M2.800 5h5l1.700 2h7.700v9H2.800z",
  fullscreen: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  history: "M3.500 10a6.500 6.500 0 1 1 2 4.700M3.500 10 2 8M3.500 10l2-1.800M10 6.500v3.700l2.500 1.500",
  home: "M3 9.500 10 3.500l7 6M5 8.500V16.500h10V8.500",
  info: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 9v4.500M10 6.500v.2",
  join: "M7.500 4.500h-4v11h4M7.500 10h9M13 6.500l3.500 3.500-3.500 3.500",
  key: "M12.500 3.500a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM9.600 10.400 3.500 16.500M5 15l2 2M13.300 6.700l.1.1",
  laptop: "M4.500 4.500h11v8h-11zM2.500 15.500h15",
  lock: "M4.500 9h11v8h-11zM7 9V6.500a3 3 0 0 1 6 0V9",
  menu: "M3 5.500h14M3 10h14M3 14.500h14",
  minus: "M4.500 10h11",
  monitor: "M3 4h14v9.500H3zM7 16.500h6M10 13.500v3",
  moon: "M16 11.800A6.500 6.500 0 0 1 8.200 4a6.500 6.500 0 1 0 7.800 7.800z",
  more: "M4.500 10h.01M10 10h.01M15.500 10h.01",
  pause: "M7 4.500v11M13 4.500v11",
  phone: "M6 2.800h8v14.400H6zM9 14.800h2",
  play: "M6 4l10 6-10 6z",
  plus: "M10 4v12M4 10h12",
  print: "M6 7V3h8v4M6 13.500H3.500V7h13v6.500H14M6 11.500h8V17H6z",
  qr: "M3.500 3.500h5v5h-5zM11.500 3.500h5v5h-5zM3.500 11.500h5v5h-5zM11.500 11.500h2v2h-2zM16.500 11.500v2M14.500 16.500h2M11.500 16.500h.1",
  refresh: "M16 8A6.500 6.500 0 0 0 4.500 6.500M4 12a6.500 6.500 0 0 0 11.500 1.500M4 3v4h4M16 17v-4h-4",
  role: "M10 2.800 16.500 5v5c0 3.600-2.600 6-6.500 7.500C6.100 16 3.500 13.600 3.500 10V5z",
  search: "M9 3.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11zM13 13l4 4",
  server: "M3 3.500h14V9H3zM3 11h14v5.500H3zM6 6.200h.01M6 13.700h.01M9 6.200h5M9 13.700h5",
  settings: "M4 6h6M14 6h2M4 14h2M10 14h6M12 4.200v3.600M8 12.200v3.600",
  shield: "M10 2.800 16.500 5v5c0 3.600-2.600 6-6.500 7.500C6.100 16 3.500 13.600 3.500 10V5zM7 9.800 9.200 12 13 7.800",
  signOut: "M12.500 4.500h-9v11h9M8 10h9M14 7l3 3-3 3",
  sun: "M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M15.700 4.300l-1.100 1.100M5.400 14.600l-1.100 1.100",
  terminal: "M3 4h14v12H3zM6 8l2.500 2L6 12M10.500 12.500h3.500",
  token: "M3 6.500h14v2.200a1.500 1.500 0 0 0 0 2.800v2H3v-2a1.500 1.500 0 0 0 0-2.800zM12 6.500v7",
  trash: "M4 5.500h12M8 5.500V3.500h4v2M5.500 5.500l.7 11h7.600l.7-11M8.500 8.500v5M11.500 8.500v5",
  upload: "M10 13V3.500M6 7l4-4 4 4M3.500 16.500h13",
  user: "M10 3.500a3.200 3.200 0 1 0 0 6.400 3.200 3.200 0 0 0 0-6.400zM3.500 16.800c.6-3 3-4.600 6.500-4.600s5.900 1.600 6.500 4.600",
  users: "M7.500 4a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600zM2 16c.5-2.700 2.500-4.100 5.500-4.100S12.500 13.300 13 16M13 4.300a2.700 2.700 0 0 1 0 5.200M15 12.300c1.700.6 2.700 1.900 3 3.700",
};

/** @typedef {keyof typeof PATHS & string} IconName */

/**
 * An icon. It is silent for screen readers unless it has a label of its own.
 * @param {{ name: string, size?: number, label?: string, class?: string }} props
 */
export function Icon({ name, size = 20, label, class: extra }) {
  return html`<svg
    class=${classes("icon", extra)}
    width=${size}
    height=${size}
    viewBox="0 0 20 20"
    fill="none"
    stroke="currentColor"
    stroke-width="1.6"
    stroke-linecap="round"
    stroke-linejoin="round"
    role=${label ? "img" : undefined}
    aria-label=${label}
    aria-hidden=${label ? undefined : "true"}
    focusable="false"
  >
    <path d=${PATHS[name] ?? ""} />
  </svg>`;
}
