/**
 * Cards over a terminal come and go; whoever is in one that goes is in the terminal afterwards, and not nowhere.
 */
import { useLayoutEffect } from "../html.js";

/** @param {{ current: HTMLElement | null }} card @param {import("./tabs.js").Tab} tab */
export function useFocusBack(card, tab) {
  useLayoutEffect(
    () => () => {
      if (tab.active && card.current?.contains(document.activeElement)) tab.screen.focus();
    },
    [tab],
  );
}
