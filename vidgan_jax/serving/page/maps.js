// Label maps from PNGs and to PNGs: what the server's reading of them takes, and nothing silently.

import { PngError, decodePng, encodePng } from "./png.js";

export const DONT_CARE = 255;
export const DONT_CARE_NAME = "don't care";
// More colours than blends at the edges of a painted map make.
const MOST_UNKNOWN = 1 << 16;

/** The labels that a model knows. */
export class Labels {
  #named = new Map();
  #coloured = new Map();

  /** @param {{id: number, name: string, colour: string}[]} list as `/api/model` has them. */
  constructor(list) {
    this.list = list;
    this.colours = new Uint8Array(3 * 256);  // RGB of each id; black where there is no label
    for (const { id, name, colour } of list) {
      const code = parseInt(colour.slice(1), 16);
      this.colours.set([code >> 16, (code >> 8) & 255, code & 255], 3 * id);
      this.#named.set(id, name);
      // Of two labels of one colour the first id is meant, as in the server.
      this.#coloured.set(code, Math.min(id, this.#coloured.get(code) ?? id));
    }
    this.#named.set(DONT_CARE, DONT_CARE_NAME);
    this.#coloured.set(0, DONT_CARE);
  }

  /** Whether a map may hold an id. */
  has(id) {
    return this.#named.has(id);
  }

  name(id) {
    return this.#named.get(id) ?? `class ${id}`;
  }

  /** The id of a colour 0xRRGGBB, or undefined. */
  idOf(code) {
    return this.#coloured.get(code);
  }

  /** The id whose colour is nearest to 0xRRGGBB, by distance in RGB; of equally near, the first. */
  nearest(code) {
    let best = Infinity, found = DONT_CARE;
    for (const [other, id] of this.#coloured) {
      const red = (code >> 16) - (other >> 16), green = ((code >> 8) & 255) - ((other >> 8) & 255);
      const blue = (code & 255) - (other & 255);
      const far = red * red + green * green + blue * blue;
      if (far < best || (far === best && id < found)) [best, found] = [far, id];
    }
    return found;
  }
}

/**
 * A map from a file, each pixel a label's id, or one of `unknown`.
 *
 * @typedef {object} ReadMap
 * @property {number} width
 * @property {number} height
 * @property {"ids" | "colours"} holds how the file was understood.
 * @property {Int32Array} values an id; or -1 - k where the pixel has the k-th unknown value.
 * @property {{value: number, name: string, count: number, nearest: number | null}[]} unknown what
 *   is no label of the model, the most frequent first; `nearest` is the id nearest to a colour.
 */

/**
 * Reads a PNG of ids (grey, or places in a palette) or painted in the labels' colours.
 *
 * A palette of greys in order, or of our colours in order, makes its places ids; so does one whose
 * colours in use are, black apart, no label's at all. A colour picture that is all grey, and not in
 * our greys only, holds ids. What is wholly transparent is "don't care".
 *
 * @param {Uint8Array} bytes of the file.
 * @param {Labels} labels
 * @returns {Promise<ReadMap>}
 * @throws {PngError} no PNG, or one that can't be read so; the message follows the file's name.
 */
export async function readMap(bytes, labels) {
  const picture = await decodePng(bytes);
  const { width, height, depth, kind, palette, alpha } = picture;
  if (depth === 16 && (kind === "colour" || alpha))
    throw new PngError("has 16 bits a channel; save it with 8");
  const clear = isClear(picture);
  let codes = null, ids = null;
  if (kind === "colour") {
    codes = codesOf(picture.samples);
    if (isAllGrey(codes, clear) && codes.some((code, i) => !clear[i] && !isOurs(code, labels)))
      [codes, ids] = [null, codes.map((code) => code & 255)];
  } else if (kind === "indexed" && paintedIn(picture, clear, labels)) {
    codes = Int32Array.from(picture.samples, (place) => paletteCode(palette, place));
  } else {
    ids = picture.samples;
  }
  const known = codes ? (code) => labels.idOf(code) : (id) => (labels.has(id) ? id : undefined);
  const { values, unknown } = looked(codes ?? ids, clear, known);
  const described = unknown.map(([value, count]) => ({
    value, count,
    name: codes ? hex(value) : `id ${value}`,
    nearest: codes ? labels.nearest(value) : null,
  }));
  return { width, height, holds: codes ? "colours" : "ids", ...ordered(values, described) };
}

const hex = (code) => `#${code.toString(16).padStart(6, "0")}`;
const paletteCode = (palette, place) =>
  (palette[3 * place] << 16) | (palette[3 * place + 1] << 8) | palette[3 * place + 2];
const isOurs = (code, labels) => labels.idOf(code) !== undefined;
const isGrey = (code) => code === (code & 255) * 0x010101;

function isClear({ alpha, depth, kind, width, height }) {
  const clear = new Uint8Array(width * height);
  if (!alpha) return clear;
  const most = kind === "indexed" ? 255 : (1 << depth) - 1;
  const partial = alpha.reduce((sum, a) => sum + (a > 0 && a < most), 0);
  if (partial)
    throw new PngError(`has ${partial} half transparent pixels; save it without anti-aliasing`);
  return clear.map((_, i) => alpha[i] === 0);
}

function codesOf(samples) {
  const codes = new Int32Array(samples.length / 3);
  for (let i = 0; i < codes.length; i++)
    codes[i] = (samples[3 * i] << 16) | (samples[3 * i + 1] << 8) | samples[3 * i + 2];
  return codes;
}

function isAllGrey(codes, clear) {
  return codes.every((code, i) => clear[i] || isGrey(code));
}

// Whether a picture's palette is what it is painted in; else its places are ids.
function paintedIn({ samples, palette }, clear, labels) {
  const used = [...new Set(samples.filter((_, i) => !clear[i]))];
  const codes = used.map((place) => paletteCode(palette, place));
  const ours = (place) => paletteCode(labels.colours, place);
  if (used.every((place, i) => codes[i] === place * 0x010101)) return false;
  if (used.every((place, i) => labels.has(place) && codes[i] === ours(place))) return false;
  if (used.some((place) => 3 * place >= palette.length)) return false;
  // The model may know a part of our labels only: the colours of others must not become places.
  const painted = codes.some((code) => code !== 0 && isOurs(code, labels));
  if (codes.every(isGrey) && !codes.every((code) => isOurs(code, labels)))
    throw new PngError("has a palette of greys that are not in order, so that its ids may be the "
      + "greys or their places in it; save it as a grey PNG without a palette");
  return painted;
}

// Ids of all values, unknown ones numbered as they come; and how often each of those is there.
function looked(all, clear, known) {
  const values = new Int32Array(all.length);
  const seen = new Map(), unknown = [];
  for (let i = 0; i < all.length; i++) {
    if (clear[i]) {
      values[i] = DONT_CARE;
      continue;
    }
    if (!seen.has(all[i])) {
      const id = known(all[i]);
      seen.set(all[i], id ?? -1 - unknown.length);
      if (id === undefined) unknown.push([all[i], 0]);
      if (unknown.length > MOST_UNKNOWN)
        throw new PngError(`has more than ${MOST_UNKNOWN} colours that are no label's, as a `
          + "photograph has; paint the map in the labels' colours");
    }
    values[i] = seen.get(all[i]);
    if (values[i] < 0) unknown[-1 - values[i]][1]++;
  }
  return { values, unknown };
}

// The most frequent unknown value first, and the pixels numbered so.
function ordered(values, unknown) {
  const order = unknown.map((_, k) => k).sort((a, b) => unknown[b].count - unknown[a].count);
  const place = [];
  order.forEach((k, i) => { place[k] = i; });
  return {
    values: values.map((value) => (value < 0 ? -1 - place[-1 - value] : value)),
    unknown: order.map((k) => unknown[k]),
  };
}

/**
 * A read map as a square of ids: every pixel the nearest one's, by their centres.
 *
 * @param {ReadMap} map
 * @param {number} size of the square, pixels.
 * @param {"nearest" | "none"} [unknown] what becomes of unknown values: the label of the nearest
 *   colour, or "don't care"; must be given where there are any.
 * @returns {Uint8Array} size² ids.
 */
export function fittedMap(map, size, unknown) {
  if (map.unknown.length && !unknown) throw new Error("what becomes of unknown values isn't said");
  const instead = map.unknown.map(({ nearest }) =>
    (unknown === "nearest" ? nearest ?? DONT_CARE : DONT_CARE));
  const at = (i, extent) => Math.floor(((2 * i + 1) * extent) / (2 * size));
  const columns = Array.from({ length: size }, (_, x) => at(x, map.width));
  const ids = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    const row = at(y, map.height) * map.width;
    for (let x = 0; x < size; x++) {
      const value = map.values[row + columns[x]];
      ids[y * size + x] = value < 0 ? instead[-1 - value] : value;
    }
  }
  return ids;
}

/** A map as a grey PNG of 8 bits whose values are the ids. */
export function idsPng(ids, size) {
  return encodePng(ids, size, size);
}

/**
 * A map as a PNG in the labels' colours; its palette has them at the places of their ids, so that
 * labels of one colour stay apart.
 */
export function coloursPng(ids, size, labels) {
  return encodePng(ids, size, size, labels.colours);
}
