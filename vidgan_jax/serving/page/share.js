// What is on the page as text: in the address's fragment, or as a file.
//
// A state is {size, ids: Uint8Array [size²], seed, variations, truncation: number or null,
// playback, style: Blob or null}. Fragments: "v=1&size=…&…&map=RUNS&sum=CRC32 of all before";
// RUNS are (label, length as a base-128 number, low digits first) row by row, in base64url.

const VERSION = "1", FORMAT = "vidgan_jax studio state";
const MOST_SIZE = 2048, MOST_SEED = 2 ** 32 - 1;
const LEAST_TRUNCATION = 0.1, MOST_TRUNCATION = 4, MOST_VARIATIONS = 6;
const PLAYBACKS = ["once", "pingpong"];
const STYLE_TYPES = ["image/png", "image/jpeg"];
const DONT_CARE = 255;

/** A link or a file that can't be read; the message goes on after "it was ignored: ". */
export class StateError extends Error {}

function insist(holds, message) {
  if (!holds) throw new StateError(message);
}

// Runs of labels.

function packRuns(ids) {
  const bytes = [];
  for (let start = 0, end; start < ids.length; start = end) {
    end = start + 1;
    while (end < ids.length && ids[end] === ids[start]) end++;
    bytes.push(ids[start]);
    let length = end - start;
    for (; length > 127; length >>>= 7) bytes.push(128 | (length & 127));
    bytes.push(length);
  }
  return Uint8Array.from(bytes);
}

function unpackRuns(bytes, length) {
  const ids = new Uint8Array(length);
  let at = 0, filled = 0;
  while (at < bytes.length) {
    const id = bytes[at++];
    let run = 0, shift = 0, digit;
    do {
      insist(at < bytes.length && shift <= 21, "its map breaks off");
      digit = bytes[at++];
      run |= (digit & 127) << shift;
      shift += 7;
    } while (digit > 127);
    insist(run > 0 && filled + run <= length, `its map isn't of ${length} pixels`);
    ids.fill(id, filled, filled + run);
    filled += run;
  }
  insist(filled === length, `its map has ${filled} of ${length} pixels`);
  return ids;
}

function toBase64(bytes) {
  // In parts: a call takes a limited number of arguments.
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192)
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (error) {
    throw new StateError("part of it isn't base64", { cause: error });
  }
}

function packMap(ids) {
  return toBase64(packRuns(ids)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function unpackMap(text, size) {
  insist(typeof text === "string" && /^[\w-]+$/.test(text), "its map isn't base64url");
  return unpackRuns(fromBase64(text.replaceAll("-", "+").replaceAll("_", "/")), size * size);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

function checksum(text) {
  let crc = -1;
  for (const byte of new TextEncoder().encode(text))
    crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ((crc ^ -1) >>> 0).toString(16).padStart(8, "0");
}

// Checks.

function isWhole(value, least, most) {
  return Number.isInteger(value) && value >= least && value <= most;
}

function isNumber(value, least, most) {
  return typeof value === "number" && value >= least && value <= most;
}

function checked({ size, seed, variations, truncation, playback, map }) {
  insist(isWhole(size, 1, MOST_SIZE), `its size (=${size}) must be 1 to ${MOST_SIZE}`);
  insist(isWhole(seed, 0, MOST_SEED), `its seed (=${seed}) must be 0 to ${MOST_SEED}`);
  insist(isWhole(variations, 1, MOST_VARIATIONS),
    `its variations (=${variations}) must be 1 to ${MOST_VARIATIONS}`);
  insist(truncation === null || isNumber(truncation, LEAST_TRUNCATION, MOST_TRUNCATION),
    `its truncation (=${truncation}) must be ${LEAST_TRUNCATION} to ${MOST_TRUNCATION}`);
  insist(PLAYBACKS.includes(playback), `its playback (=${playback}) is none of ${PLAYBACKS}`);
  return { size, seed, variations, truncation, playback, ids: unpackMap(map, size) };
}

// Fragments.

/** The state as the text behind a "#"; a style is left out. */
export function toFragment(state) {
  const fields = { v: VERSION, size: state.size, seed: state.seed, n: state.variations };
  if (state.truncation !== null) fields.t = state.truncation;
  Object.assign(fields, { play: state.playback, map: packMap(state.ids) });
  const text = new URLSearchParams(fields).toString();
  return `${text}&sum=${checksum(text)}`;
}

/**
 * The state of a fragment, with or without its "#".
 *
 * @returns {?object} null for a fragment that is none of ours ("" or an anchor).
 * @throws {StateError} damaged, or of another version.
 */
export function fromFragment(fragment) {
  const text = fragment.replace(/^#/, "");
  const fields = new URLSearchParams(text);
  if (!fields.has("v") && !fields.has("map")) return null;
  insist(fields.get("v") === VERSION,
    `it is of version ${fields.get("v")}, this page reads version ${VERSION}`);
  const end = text.lastIndexOf("&sum=");
  insist(end >= 0 && fields.get("sum") === checksum(text.slice(0, end)),
    "its checksum doesn't fit: part of it is missing or changed");
  const number = (name) => fields.get(name) ? Number(fields.get(name)) : NaN;
  const truncation = fields.has("t") ? number("t") : null;
  const state = checked({ size: number("size"), seed: number("seed"), variations: number("n"),
    truncation, playback: fields.get("play"), map: fields.get("map") });
  return { ...state, style: null };
}

// Files.

/** The state as a JSON Blob, with its style. */
export async function toFile(state, modelName) {
  const { ids, style, ...options } = state;
  const picture = style && { type: style.type,
    data: toBase64(new Uint8Array(await style.arrayBuffer())) };
  const content = { format: FORMAT, version: Number(VERSION), model: modelName, ...options,
    style: picture, map: packMap(ids) };
  return new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
}

/**
 * The state in a file's text.
 *
 * @throws {StateError} not a file that `toFile` made, or damaged.
 */
export function fromFile(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new StateError("it isn't JSON", { cause: error });
  }
  insist(content?.format === FORMAT, "it isn't a state that this page saved");
  insist(content.version === Number(VERSION),
    `it is of version ${content.version}, this page reads version ${VERSION}`);
  const state = checked(content);
  const { style = null } = content;
  if (style === null) return { ...state, style };
  insist(STYLE_TYPES.includes(style.type) && typeof style.data === "string",
    "its style is neither a PNG nor a JPEG");
  return { ...state, style: new Blob([fromBase64(style.data)], { type: style.type }) };
}

/**
 * The map of a state for a model: nearest pixels, "don't care" for unknown labels.
 *
 * @param {object} state
 * @param {{size: number, known: Set<number>}} model its size, and the ids of its labels.
 * @returns {{ids: Uint8Array, unknown: number, isStretched: boolean}} `unknown` counts pixels.
 */
export function fitted(state, { size, known }) {
  const ids = new Uint8Array(size * size);
  let unknown = 0;
  for (let y = 0, at = 0; y < size; y++) {
    const row = Math.floor(((y + 0.5) * state.size) / size) * state.size;
    for (let x = 0; x < size; x++, at++) {
      const id = state.ids[row + Math.floor(((x + 0.5) * state.size) / size)];
      const isKnown = id === DONT_CARE || known.has(id);
      ids[at] = isKnown ? id : DONT_CARE;
      unknown += !isKnown;
    }
  }
  return { ids, unknown, isStretched: size !== state.size };
}
