/**
 * The log as a file: the browser itself fetches it, from an address that works once.
 */
import { ApiError, api } from "../../api.js";
import { toast } from "../../state.js";

/**
 * @param {string} site
 * @param {"csv" | "json"} format
 * @param {Record<string, string>} wanted As for the search.
 */
export async function exportEvents(site, format, wanted) {
  try {
    const { url } = await api.post(`/webapi/sites/${encodeURIComponent(site)}/events/export/ticket`, {}, { query: { format, ...wanted } });
    const link = document.createElement("a");
    link.href = url;
    link.download = "";
    link.click();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  }
}
