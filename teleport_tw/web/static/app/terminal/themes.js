/**
 * Colours of terminals. `page` follows the light or dark of the page around it.
 */

/** @typedef {import("@xterm/xterm").ITheme} Colours */

/** Sixteen colours in their order. @param {string} words @returns {Colours} */
function palette(words) {
  const [black, red, green, yellow, blue, magenta, cyan, white, ...bright] = words.split(" ");
  const [brightBlack, brightRed, brightGreen, brightYellow, brightBlue, brightMagenta, brightCyan, brightWhite] = bright;
  return {
    ...{ black, red, green, yellow, blue, magenta, cyan, white },
    ...{ brightBlack, brightRed, brightGreen, brightYellow, brightBlue, brightMagenta, brightCyan, brightWhite },
  };
}

/** @type {Colours} */
const night = {
  background: "#11161d",
  foreground: "#dbe2ec",
  cursor: "#8ab0ff",
  cursorAccent: "#11161d",
  selectionBackground: "#33507d",
  ...palette(
    "#2a323d #ff7b72 #6bd38a #e3b862 #79a8ff #d2a0ff #5fd3d8 #c3ccd8 #6f7b8b #ffa198 #8ee6a8 #f2cf83 #a3c4ff #e2c0ff #8be6ea #ffffff",
  ),
};

/** @type {Colours} */
const day = {
  background: "#ffffff",
  foreground: "#1c2430",
  cursor: "#1f5eff",
  cursorAccent: "#ffffff",
  selectionBackground: "#c6d8ff",
  ...palette(
    "#1c2430 #b3261e #1c7a3c #8a5a00 #1f4fd1 #8a2fb5 #0f7080 #5c6675 #4a5463 #c9372c #23924a #a06a00 #2f63ef #a044cc #148396 #3a4350",
  ),
};

/** @type {Colours} */
const solarized = palette(
  "#073642 #dc322f #859900 #b58900 #268bd2 #d33682 #2aa198 #eee8d5 #586e75 #cb4b16 #859900 #b58900 #839496 #6c71c4 #93a1a1 #fdf6e3",
);

/** @type {Record<string, {label: string, colours: Colours}>} */
export const THEMES = {
  night: { label: "Night", colours: night },
  day: { label: "Day", colours: day },
  contrast: {
    label: "High contrast",
    colours: {
      background: "#000000",
      foreground: "#ffffff",
      cursor: "#ffff00",
      cursorAccent: "#000000",
      selectionBackground: "#0050c8",
      selectionForeground: "#ffffff",
      ...palette(
        "#3a3a3a #ff6b6b #5dff7f #ffe34d #7db3ff #ff8cff #4df0ff #ffffff #8c8c8c #ff9b9b #9dffb0 #fff09a #aed0ff #ffb8ff #a3f7ff #ffffff",
      ),
    },
  },
  "solarized-dark": {
    label: "Solarized dark",
    colours: {
      background: "#002b36",
      foreground: "#93a1a1",
      cursor: "#93a1a1",
      cursorAccent: "#002b36",
      selectionBackground: "#0d4250",
      ...solarized,
    },
  },
  "solarized-light": {
    label: "Solarized light",
    colours: {
      background: "#fdf6e3",
      foreground: "#586e75",
      cursor: "#586e75",
      cursorAccent: "#fdf6e3",
      selectionBackground: "#e6dfc8",
      ...solarized,
    },
  },
  gruvbox: {
    label: "Gruvbox",
    colours: {
      background: "#282828",
      foreground: "#ebdbb2",
      cursor: "#ebdbb2",
      cursorAccent: "#282828",
      selectionBackground: "#504945",
      ...palette(
        "#3c3836 #fb4934 #b8bb26 #fabd2f #83a598 #d3869b #8ec07c #d5c4a1 #928374 #fb4934 #b8bb26 #fabd2f #83a598 #d3869b #8ec07c #ebdbb2",
      ),
    },
  },
};

/**
 * @param {string} name
 * @param {boolean} dark Whether the page is.
 * @returns {Colours}
 */
export function coloursOf(name, dark) {
  return (THEMES[name] ?? (dark ? THEMES.night : THEMES.day))?.colours ?? night;
}
