/**
 * The log while it grows: each question waits at the cluster until something has happened.
 */
import { ApiError, api } from "../../api.js";
import { useEffect, useState } from "../../html.js";

const MOST = 500;
const AFTER_FAILURE_MS = 3000;

/** @typedef {import("./words.js").Event} Event */

/**
 * @param {boolean} on
 * @param {string} site
 * @param {Record<string, string>} wanted As for the search, without a period.
 * @param {() => void} begun Called once it is known from when on events are told: those before are the list's.
 * @returns {Event[]} Newest first; those since it was turned on.
 */
export function useTail(on, site, wanted, begun) {
  const [events, setEvents] = useState(/** @type {Event[]} */ ([]));
  useEffect(() => {
    setEvents([]);
    if (!on) return undefined;
    const stop = new AbortController();
    follow(site, wanted, stop.signal, begun, (fresh) => setEvents((old) => [...fresh.reverse(), ...old].slice(0, MOST)));
    return () => stop.abort();
  }, [on, site, JSON.stringify(wanted)]);
  return events;
}

/**
 * @param {string} site
 * @param {Record<string, string>} wanted
 * @param {AbortSignal} signal
 * @param {() => void} begun
 * @param {(events: Event[]) => void} tell Oldest first.
 */
async function follow(site, wanted, signal, begun, tell) {
  let startKey = "";
  while (!signal.aborted) {
    try {
      const answer = await api.get(`/webapi/sites/${encodeURIComponent(site)}/events/tail`, { query: { ...wanted, startKey }, signal });
      if (signal.aborted) return;
      if (!startKey) begun();
      startKey = answer.startKey;
      if (answer.events.length) tell(answer.events);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError) || error.status === 401) throw error;
      await new Promise((resolve) => setTimeout(resolve, AFTER_FAILURE_MS));
    }
  }
}
