// PNG written and read to the bit: a canvas would manage colours and multiply by opacity.
//
// Source: W3C 2025, "Portable Network Graphics (PNG) specification (third edition)".

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GREY = 0, RGB = 2, INDEXED = 3, GREY_ALPHA = 4, RGBA = 6;
const CHANNELS = { [GREY]: 1, [RGB]: 3, [INDEXED]: 1, [GREY_ALPHA]: 2, [RGBA]: 4 };
const DEPTHS = {
  [GREY]: [1, 2, 4, 8, 16], [RGB]: [8, 16], [INDEXED]: [1, 2, 4, 8], [GREY_ALPHA]: [8, 16],
  [RGBA]: [8, 16],
};
// Most pixels that are read: what a phone can hold several times over.
const MOST_PIXELS = 1 << 24;

/** A file that is no PNG, or a damaged one; the message says what is wrong and what to do. */
export class PngError extends Error {}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/**
 * A PNG of 8 bits a pixel.
 *
 * @param {Uint8Array} values width · height of them.
 * @param {Uint8Array} [palette] RGB of each value, 3 bytes each; without it the values are greys.
 * @returns {Promise<Blob>}
 */
export async function encodePng(values, width, height, palette) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, palette ? INDEXED : GREY], 8);
  const rows = new Uint8Array((width + 1) * height);  // the first byte of a row: no filter
  for (let y = 0; y < height; y++)
    rows.set(values.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", header)];
  if (palette) parts.push(chunk("PLTE", palette));
  parts.push(chunk("IDAT", packed), chunk("IEND", new Uint8Array(0)));
  return new Blob(parts, { type: "image/png" });
}

/** Whether a file begins as a PNG does. */
export function isPng(bytes) {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/**
 * The samples of a PNG as the file has them.
 *
 * @param {Uint8Array} bytes
 * @returns {Promise<{width, height, depth, kind, samples, alpha, palette}>} `kind`: "grey",
 *   "indexed" or "colour"; `samples`: one value a pixel, or three for colour; `alpha`: null, or
 *   of each pixel 0 to the largest value of `depth` (of 8 for indexed); `palette`: RGB bytes.
 * @throws {PngError} no PNG, a damaged one, or one too large.
 */
export async function decodePng(bytes) {
  if (!isPng(bytes)) throw new PngError("is not a PNG; save the map as PNG");
  const { header, palette, clear, data } = readChunks(bytes);
  const { width, height, depth, type, interlaced } = header;
  const passes = interlaced ? adam7(width, height) : [[0, 0, 1, 1, width, height]];
  const channels = CHANNELS[type];
  const rowBytes = (columns) => Math.ceil((columns * channels * depth) / 8);
  const length = passes.reduce((sum, pass) => sum + pass[5] * (1 + rowBytes(pass[4])), 0);
  const raw = await inflate(data, length);
  const Samples = depth > 8 ? Uint16Array : Uint8Array;
  const all = new Samples(width * height * channels);
  let at = 0;
  for (const [left, top, stepX, stepY, columns, rows] of passes) {
    const stride = rowBytes(columns), step = Math.max(1, (channels * depth) >> 3);
    let above = new Uint8Array(stride);
    for (let row = 0; row < rows; row++) {
      const line = raw.subarray(at + 1, at + 1 + stride);
      unfilter(raw[at], line, above, step);
      const start = (top + row * stepY) * width + left;
      spread(line, depth, channels, columns, all, start, stepX);
      above = line;
      at += 1 + stride;
    }
  }
  return separated(all, header, palette, clear);
}

function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header = null, palette = null, clear = null, at = 8;
  const data = [];
  while (true) {
    if (at + 12 > bytes.length) throw new PngError("ends before its end; save it again");
    const length = view.getUint32(at), end = at + 8 + length;
    if (end + 4 > bytes.length) throw new PngError("ends before its end; save it again");
    if (view.getUint32(end) !== crc(bytes.subarray(at + 4, end)))
      throw new PngError("is damaged (a checksum is wrong); save it again");
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, end);
    if (!header && name !== "IHDR") throw new PngError("is damaged (no header); save it again");
    if (name === "IHDR") header = readHeader(content);
    else if (name === "PLTE") palette = content;
    else if (name === "tRNS") clear = content;
    else if (name === "IDAT") data.push(content);
    else if (name === "IEND") break;
    at = end + 4;
  }
  if (header.type === INDEXED && !palette)
    throw new PngError("is damaged (its palette is missing); save it again");
  return { header, palette, clear, data };
}

function readHeader(content) {
  if (content.length !== 13) throw new PngError("is damaged (header); save it again");
  const view = new DataView(content.buffer, content.byteOffset, 13);
  const width = view.getUint32(0), height = view.getUint32(4);
  const [depth, type, , , interlaced] = content.subarray(8);
  if (!width || !height || !DEPTHS[type]?.includes(depth) || interlaced > 1)
    throw new PngError("is damaged (header); save it again");
  if (width * height > MOST_PIXELS)
    throw new PngError(`has ${width} × ${height} pixels, more than ${MOST_PIXELS}; make it `
      + "smaller");
  return { width, height, depth, type, interlaced };
}

// The seven passes over an interlaced picture: first column and row, steps, columns and rows.
function adam7(width, height) {
  const passes = [
    [0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2],
    [0, 1, 1, 2],
  ];
  return passes
    .map(([x, y, stepX, stepY]) =>
      [x, y, stepX, stepY, Math.ceil((width - x) / stepX), Math.ceil((height - y) / stepY)])
    .filter(([, , , , columns, rows]) => columns > 0 && rows > 0);
}

// Stops at the length that the header promises: a few bytes may unpack to gigabytes.
async function inflate(parts, length) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const bytes = new Uint8Array(length);
  let filled = 0;
  try {
    while (filled < length) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes.set(value.subarray(0, length - filled), filled);
      filled += value.length;
    }
  } catch (error) {
    const words = "is damaged (its pixels can't be unpacked); save it again";
    throw new PngError(words, { cause: error });
  }
  if (filled < length) throw new PngError("holds too few pixels; save it again");
  // What is behind the pixels is nobody's; an error in it changes none of them.
  reader.cancel().catch(() => {});
  return bytes;
}

function unfilter(filter, line, above, step) {
  if (filter > 4) throw new PngError("is damaged (filter); save it again");
  if (filter === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i >= step ? line[i - step] : 0;
    const corner = i >= step ? above[i - step] : 0;
    if (filter === 1) line[i] += left;
    else if (filter === 2) line[i] += above[i];
    else if (filter === 3) line[i] += (left + above[i]) >> 1;
    else line[i] += paeth(left, above[i], corner);
  }
}

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const toLeft = Math.abs(guess - left), toAbove = Math.abs(guess - above);
  const toCorner = Math.abs(guess - corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

// Writes one row's samples where they belong: pixel `start`, then every `step` pixels.
function spread(line, depth, channels, columns, all, start, step) {
  for (let i = 0; i < columns * channels; i++) {
    const to = (start + Math.floor(i / channels) * step) * channels + (i % channels);
    if (depth === 8) all[to] = line[i];
    else if (depth === 16) all[to] = (line[2 * i] << 8) | line[2 * i + 1];
    else {
      const bit = i * depth;
      all[to] = (line[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
    }
  }
}

// Parts samples from opacity, which is a channel, or one clear value, or the palette's.
function separated(all, { width, height, depth, type }, palette, clear) {
  const pixels = width * height;
  const picture = { width, height, depth, samples: all, alpha: null, palette: null };
  picture.kind = type === INDEXED ? "indexed" : type === RGB || type === RGBA ? "colour" : "grey";
  const most = (1 << depth) - 1;
  if (type === GREY_ALPHA || type === RGBA) {
    const colours = CHANNELS[type] - 1;
    picture.samples = new all.constructor(pixels * colours);
    picture.alpha = new all.constructor(pixels);
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < colours; c++)
        picture.samples[i * colours + c] = all[i * (colours + 1) + c];
      picture.alpha[i] = all[i * (colours + 1) + colours];
    }
  } else if (type === INDEXED) {
    picture.palette = palette;
    if (clear) picture.alpha = all.map((index) => clear[index] ?? 255);
  } else if (clear) {
    const channels = CHANNELS[type];
    const value = Array.from({ length: channels },
      (_, c) => (clear[2 * c] << 8) | clear[2 * c + 1]);
    picture.alpha = new Uint16Array(pixels).map((_, i) =>
      value.every((sample, c) => all[i * channels + c] === sample) ? 0 : most);
  }
  return picture;
}
