// The map on the screen: pixel-exact at any zoom, and the cursor over it.

import { DONT_CARE } from "./maps.js";
import { discCorner, discRows } from "./tools.js";

const MOST_SCALE = 64;  // device pixels a pixel of the map
const GRID_SCALE = 12;  // from here on pixels are told apart by lines
// Of the room, which a whole-numbered scale must fill to be taken; on fine screens nobody sees
// that some pixels are a device pixel larger than others.
const WHOLE_SHARE = 0.85, FINE_WHOLE_SHARE = 0.97, FINE_RATIO = 2;
const KEPT = 48;  // device pixels of the map that stay in sight

// Device pixels of a length: as the browser tells them, where it does, so that nothing is left to
// rounding. (Chromium tells CSS pixels instead while it pretends to be another device.)
function deviceLength(length, told) {
  const guess = length * devicePixelRatio;
  return Math.abs(told - guess) <= 1 ? told : Math.round(guess);
}

/**
 * Draws an editor's map on a canvas.
 *
 * `hover` and `cursor` are points in pixels of the map, or null: where the pointer is, and where
 * the keyboard's cursor is. Distances named "device" are in pixels of the screen.
 */
export class View {
  #editor;
  #canvas;
  #context;
  #map;
  #picture;
  #words;
  #scale = 1;
  #left = 0;
  #top = 0;
  #isFitted = true;
  #frame = 0;
  #hover = null;
  #cursor = null;

  constructor(editor, canvas) {
    this.#editor = editor;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#map = document.createElement("canvas");
    this.#map.width = this.#map.height = editor.size;
    this.#picture = new ImageData(editor.size, editor.size);
    this.#words = new Uint32Array(this.#picture.data.buffer);
    editor.addEventListener("paint", ({ detail }) => this.#paint(detail));
    editor.addEventListener("settings", () => this.#request());
    this.#paint({ x: 0, y: 0, width: editor.size, height: editor.size });
    this.#watchSize();
  }

  set hover(point) {
    this.#hover = point;
    this.#request();
  }

  get cursor() {
    return this.#cursor;
  }

  set cursor(point) {
    this.#cursor = point;
    if (point) this.#reveal(point);
    this.#request();
  }

  /** The point under a pointer, in pixels of the map, fractions and points outside among them. */
  pointAt({ clientX, clientY }) {
    const { x, y } = this.#deviceAt(clientX, clientY);
    return { x: (x - this.#left) / this.#scale, y: (y - this.#top) / this.#scale };
  }

  /** The whole map, as large as it fits. */
  fit() {
    const { width, height } = this.#canvas, { size } = this.#editor;
    const room = Math.min(width, height) / size;
    const whole = Math.floor(room);
    const share = devicePixelRatio >= FINE_RATIO ? FINE_WHOLE_SHARE : WHOLE_SHARE;
    this.#scale = whole / room >= share ? whole : room;
    this.#left = Math.round((width - size * this.#scale) / 2);
    this.#top = Math.round((height - size * this.#scale) / 2);
    this.#isFitted = true;
    this.#request();
  }

  /** Zooms about a place on the page, or about the middle. */
  zoom(factor, at) {
    const { x, y } = at ? this.#deviceAt(at.clientX, at.clientY)
      : { x: this.#canvas.width / 2, y: this.#canvas.height / 2 };
    const { width, height } = this.#canvas;
    const least = Math.min(1, Math.min(width, height) / this.#editor.size / 2);
    const scale = Math.min(Math.max(this.#scale * factor, least), MOST_SCALE);
    this.#left = x - ((x - this.#left) / this.#scale) * scale;
    this.#top = y - ((y - this.#top) / this.#scale) * scale;
    this.#scale = scale;
    this.#moved();
  }

  /** Moves the map by so many CSS pixels. */
  pan(right, down) {
    const ratio = this.#ratio();
    this.#left += right * ratio;
    this.#top += down * ratio;
    this.#moved();
  }

  #moved() {
    const whole = this.#scale * this.#editor.size, { width, height } = this.#canvas;
    this.#left = Math.min(Math.max(this.#left, KEPT - whole), width - KEPT);
    this.#top = Math.min(Math.max(this.#top, KEPT - whole), height - KEPT);
    this.#isFitted = false;
    this.#request();
  }

  #reveal(point) {
    const margin = 2 * this.#scale;
    const offset = (place, extent) =>
      place < margin ? margin - place : place > extent - margin ? extent - margin - place : 0;
    const right = offset(point.x * this.#scale + this.#left, this.#canvas.width);
    const down = offset(point.y * this.#scale + this.#top, this.#canvas.height);
    if (this.#isFitted || (!right && !down)) return;
    this.#left += right;
    this.#top += down;
    this.#moved();
  }

  #ratio() {
    return this.#canvas.width / this.#canvas.getBoundingClientRect().width;
  }

  #deviceAt(clientX, clientY) {
    const box = this.#canvas.getBoundingClientRect(), ratio = this.#ratio();
    return { x: (clientX - box.left) * ratio, y: (clientY - box.top) * ratio };
  }

  #watchSize() {
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      const [exact] = entry.devicePixelContentBoxSize ?? [];
      this.#resize(deviceLength(width, exact?.inlineSize), deviceLength(height, exact?.blockSize));
    });
    try {
      observer.observe(this.#canvas, { box: "device-pixel-content-box" });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      observer.observe(this.#canvas);  // a browser that has no such box
    }
  }

  #resize(width, height) {
    if (!width || !height) return;
    const right = (width - this.#canvas.width) / 2, down = (height - this.#canvas.height) / 2;
    this.#canvas.width = width;
    this.#canvas.height = height;
    if (this.#isFitted) this.fit();
    else {
      this.#left += right;
      this.#top += down;
      this.#moved();
    }
    this.#draw();  // at once: a resized canvas is blank
  }

  #paint({ x, y, width, height }) {
    const { ids, size, labels } = this.#editor;
    for (let row = y; row < y + height; row++) {
      for (let at = row * size + x; at < row * size + x + width; at++) {
        const id = ids[at], [red, green, blue] = labels.colours.subarray(3 * id, 3 * id + 3);
        // What has no label is chequered, so that it doesn't look like one.
        const grey = ((row >> 1) + ((at - row * size) >> 1)) & 1 ? 0x2c : 0x14;
        const code = id === DONT_CARE ? grey * 0x010101 : (blue << 16) | (green << 8) | red;
        this.#words[at] = 0xff000000 | code;
      }
    }
    this.#map.getContext("2d").putImageData(this.#picture, 0, 0, x, y, width, height);
    this.#request();
  }

  #request() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { width, height } = this.#canvas, context = this.#context;
    const whole = this.#editor.size * this.#scale;
    const left = Math.round(this.#left), top = Math.round(this.#top);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#map, left, top, Math.round(whole), Math.round(whole));
    if (this.#scale >= GRID_SCALE) this.#drawGrid(left, top);
    if (this.#cursor) this.#drawCross(this.#cursor);
    const point = this.#cursor ?? this.#hover;
    if (point) this.#drawTip(point);
  }

  #drawGrid(left, top) {
    const context = this.#context, { size } = this.#editor;
    const { width, height } = this.#canvas;
    context.beginPath();
    for (let i = 0; i <= size; i++) {
      const x = Math.round(left + i * this.#scale) + 0.5;
      const y = Math.round(top + i * this.#scale) + 0.5;
      if (x >= 0 && x <= width) this.#segment(x, Math.max(0, top), x,
        Math.min(height, top + size * this.#scale));
      if (y >= 0 && y <= height) this.#segment(Math.max(0, left), y,
        Math.min(width, left + size * this.#scale), y);
    }
    context.lineWidth = 1;
    context.strokeStyle = "rgb(0 0 0 / 25%)";
    context.stroke();
  }

  #segment(fromX, fromY, toX, toY) {
    this.#context.moveTo(fromX, fromY);
    this.#context.lineTo(toX, toY);
  }

  // The outline of what the tool would paint, along the pixels' edges.
  #drawTip(point) {
    const { tool, brushSize } = this.#editor;
    if (tool === "pan") return;
    const diameter = tool === "fill" ? 1 : brushSize;
    const corner = discCorner(point, diameter), rows = discRows(diameter);
    const x = (i) => Math.round(this.#left) + (corner.x + i) * this.#scale;
    const y = (i) => Math.round(this.#top) + (corner.y + i) * this.#scale;
    const context = this.#context;
    context.beginPath();
    let [above, aboveEnd] = [diameter / 2, diameter / 2];
    rows.forEach(([first, end], row) => {
      this.#segment(x(first), y(row), x(first), y(row + 1));
      this.#segment(x(end), y(row), x(end), y(row + 1));
      this.#segment(x(above), y(row), x(first), y(row));
      this.#segment(x(aboveEnd), y(row), x(end), y(row));
      [above, aboveEnd] = [first, end];
    });
    this.#segment(x(above), y(diameter), x(aboveEnd), y(diameter));
    this.#strokeTwice();
  }

  #drawCross({ x, y }) {
    const context = this.#context, reach = 9 * devicePixelRatio;
    const middleX = Math.round(this.#left) + x * this.#scale;
    const middleY = Math.round(this.#top) + y * this.#scale;
    const tip = this.#editor.tool === "pan" || this.#editor.tool === "fill"
      ? 1 : this.#editor.brushSize;
    const gap = (tip / 2) * this.#scale + 3 * devicePixelRatio;
    context.beginPath();
    for (const side of [-1, 1]) {
      this.#segment(middleX + side * gap, middleY, middleX + side * (gap + reach), middleY);
      this.#segment(middleX, middleY + side * gap, middleX, middleY + side * (gap + reach));
    }
    this.#strokeTwice();
  }

  // Black under white: to be seen on any label.
  #strokeTwice() {
    const context = this.#context;
    context.lineCap = "square";
    context.lineWidth = 3 * devicePixelRatio;
    context.strokeStyle = "rgb(0 0 0 / 75%)";
    context.stroke();
    context.lineWidth = devicePixelRatio;
    context.strokeStyle = "#fff";
    context.stroke();
  }
}
