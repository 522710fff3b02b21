/**
 * What xterm.js has on its screen and in mind, kept and put back. It has no interface for that, so its own parts are read:
 * whatever of them is not as this version has it makes that nothing is kept, and a seek draws all anew.
 */

const CELL_BYTES = 12;
const BUFFER = ["x", "y", "ybase", "ydisp", "scrollTop", "scrollBottom", "savedX", "savedY", "savedCharset"];

/** @typedef {{ size: [number, number], bytes: number, parts: any }} Kept */

/** @param {any} terminal @returns {Kept | null} Null while something is half read. */
export function kept(terminal) {
  try {
    return taken(terminal);
  } catch {
    return null;
  }
}

/** @param {any} terminal @returns {Kept | null} */
function taken(terminal) {
  const core = terminal._core;
  const input = core?._inputHandler;
  const parser = input?._parser;
  if (parser?.currentState !== 0 || !input._utf8Decoder || input._utf8Decoder.interim.some(Boolean)) return null;
  const { normal, alt, active } = core.buffers;
  return {
    size: [terminal.cols, terminal.rows],
    bytes: (normal.lines.length + alt.lines.length) * terminal.cols * CELL_BYTES,
    parts: {
      join: parser.precedingJoinState,
      alternate: active === alt,
      normal: bufferOf(normal),
      alt: bufferOf(alt),
      style: input._curAttrData.clone(),
      erase: input._eraseAttrDataInternal?.clone(),
      modes: { ...core.coreService.modes },
      decModes: { ...core.coreService.decPrivateModes },
      convertEol: terminal.options.convertEol,
      hidden: core.coreService.isCursorHidden,
      charsets: [...input._charsetService._charsets],
      charset: input._charsetService.charset,
      glevel: input._charsetService.glevel,
    },
  };
}

/** On a terminal that was reset and has the size. @param {any} terminal @param {Kept} state */
export function restored(terminal, { parts }) {
  const core = terminal._core;
  const input = core._inputHandler;
  if (parts.alternate) core.buffers.activateAltBuffer();
  else core.buffers.activateNormalBuffer();
  putBack(core.buffers.normal, parts.normal);
  putBack(core.buffers.alt, parts.alt);
  input._parser.precedingJoinState = parts.join;
  input._curAttrData = parts.style.clone();
  if (parts.erase) input._eraseAttrDataInternal = parts.erase.clone();
  Object.assign(core.coreService.modes, parts.modes);
  Object.assign(core.coreService.decPrivateModes, parts.decModes);
  terminal.options.convertEol = parts.convertEol;
  core.coreService.isCursorHidden = parts.hidden;
  input._charsetService._charsets = [...parts.charsets];
  input._charsetService.charset = parts.charset;
  input._charsetService.glevel = parts.glevel;
  terminal.refresh(0, terminal.rows - 1);
}

/** @param {any} buffer */
function bufferOf(buffer) {
  const lines = [];
  for (let row = 0; row < buffer.lines.length; row++) lines.push(buffer.lines.get(row).clone());
  const plain = Object.fromEntries(BUFFER.map((name) => [name, buffer[name]]));
  return { lines, plain, tabs: { ...buffer.tabs }, saved: buffer.savedCurAttrData.clone() };
}

/** @param {any} buffer @param {any} state */
function putBack(buffer, state) {
  buffer.lines.length = state.lines.length;
  state.lines.forEach((/** @type {any} */ line, /** @type {number} */ row) => buffer.lines.set(row, line.clone()));
  Object.assign(buffer, state.plain);
  buffer.tabs = { ...state.tabs };
  buffer.savedCurAttrData = state.saved.clone();
}
