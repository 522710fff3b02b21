/**
 * A recording as a file: the browser itself fetches it, from an address that works once.
 */
import { ApiError, api } from "../api.js";
import { toast } from "../state.js";

export const FORMATS = [
  { format: "cast", label: "Asciicast", detail: "plays in asciinema" },
  { format: "text", label: "Text", detail: "what was on the screen" },
  { format: "json", label: "Events", detail: "JSON, one a line" },
];

/** @param {string} site @param {string} sid @param {string} format */
export async function downloadRecording(site, sid, format) {
  const path = `/webapi/sites/${encodeURIComponent(site)}/recordings/${encodeURIComponent(sid)}/export/ticket`;
  try {
    const { url } = await api.post(path, {}, { query: { format } });
    const link = document.createElement("a");
    link.href = url;
    link.download = "";
    link.click();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}
