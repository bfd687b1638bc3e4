// The map that is drawn: ids, the tool in hand, strokes, undo. It knows nothing of the page.

import { History, difference } from "./history.js";
import { idsPng } from "./maps.js";
import { drawLine, fill, straightened, union } from "./tools.js";

export const TOOLS = ["brush", "line", "fill", "eraser", "pan"];

/**
 * A label map of size² ids and what is done to it.
 *
 * Events:
 *   "paint" (detail: rectangle {x, y, width, height}): these pixels look different, also while a
 *     stroke is going on;
 *   "stroke": a change is finished: a stroke, an undo, a map from elsewhere;
 *   "settings": another tool, label or brush size.
 */
export class Editor extends EventTarget {
  #history;
  #stroke = null;
  #tool = "brush";
  #label;
  #last;
  #brushSize;

  /**
   * @param {object} options
   * @param {number} options.size of the map, pixels.
   * @param {import("./maps.js").Labels} options.labels
   * @param {number} options.defaultLabel what an empty map is made of, and the eraser leaves.
   */
  constructor({ size, labels, defaultLabel }) {
    super();
    this.size = size;
    this.labels = labels;
    this.defaultLabel = defaultLabel;
    this.ids = new Uint8Array(size * size).fill(defaultLabel);
    this.maxBrushSize = Math.max(8, size >> 2);
    this.#history = new History(size);
    this.#brushSize = Math.max(2, size >> 4);
    // Not the label that the empty map has: the first stroke should be seen.
    this.#label = labels.list.find(({ id }) => id !== defaultLabel)?.id ?? defaultLabel;
    this.#last = defaultLabel;
  }

  get tool() {
    return this.#tool;
  }

  set tool(tool) {
    if (!TOOLS.includes(tool)) throw new RangeError(`tool ${tool} is none of ${TOOLS}`);
    this.cancel();
    this.#tool = tool;
    this.#tell("settings");
  }

  get label() {
    return this.#label;
  }

  set label(label) {
    if (!this.labels.has(label)) throw new RangeError(`label ${label} is none of the model's`);
    if (label !== this.#label) this.#last = this.#label;
    this.#label = label;
    this.#tell("settings");
  }

  get brushSize() {
    return this.#brushSize;
  }

  set brushSize(pixels) {
    this.#brushSize = Math.min(Math.max(1, Math.round(pixels)), this.maxBrushSize);
    this.#tell("settings");
  }

  /** Takes the label that was in hand before this one. */
  swapLabels() {
    this.label = this.#last;
  }

  get canUndo() {
    return this.#history.canUndo && !this.#stroke;
  }

  get canRedo() {
    return this.#history.canRedo && !this.#stroke;
  }

  /** Whether a stroke is going on. */
  get isDrawing() {
    return this.#stroke !== null;
  }

  /** The label at a point in pixels, or null outside the map. */
  labelAt({ x, y }) {
    const isInside = x >= 0 && y >= 0 && x < this.size && y < this.size;
    return isInside ? this.ids[Math.floor(y) * this.size + Math.floor(x)] : null;
  }

  /**
   * Puts another map in the place of this one.
   *
   * @param {Uint8Array} ids size² of them, of the model's labels or 255.
   * @param {{undoable?: boolean}} [options] not undoable: what was drawn before is forgotten.
   * @throws {RangeError} another length, or an id that the model does not know.
   */
  setMap(ids, { undoable = true } = {}) {
    if (ids.length !== this.ids.length)
      throw new RangeError(`map of ${ids.length} pixels; the model's has ${this.ids.length}`);
    const strange = ids.find((id) => !this.labels.has(id));
    if (strange !== undefined) throw new RangeError(`id ${strange} is none of the model's labels`);
    this.cancel();
    const before = this.ids.slice();
    this.ids.set(ids);
    if (!undoable) this.#history.clear();
    this.#finished(before, this.#whole, undoable);
    this.#tell("settings");
  }

  /** Makes the map empty: the default label everywhere. */
  clear() {
    this.setMap(new Uint8Array(this.ids.length).fill(this.defaultLabel));
  }

  undo() {
    if (this.canUndo) this.#changedBy(this.#history.undo(this.ids));
  }

  redo() {
    if (this.canRedo) this.#changedBy(this.#history.redo(this.ids));
  }

  /** The map as a PNG of ids, without a stroke that is going on. */
  mapPng() {
    return idsPng(this.#stroke?.before ?? this.ids, this.size);
  }

  /**
   * Begins a stroke.
   *
   * @param {{x: number, y: number}} point in pixels of the map, fractions allowed.
   * @param {string} [tool] another one than that in hand, as a pen's other end is.
   */
  begin(point, tool = this.#tool) {
    if (this.#stroke || tool === "pan") return;
    const label = tool === "eraser" ? this.defaultLabel : this.#label;
    this.#stroke = {
      tool, label, diameter: this.#brushSize, before: this.ids.slice(), area: null, anchor: point,
      last: point,
    };
    if (tool === "fill") {
      if (this.labelAt(point) !== null)
        this.#painted(fill(this.ids, this.size, Math.floor(point.x), Math.floor(point.y), label));
    } else {
      this.#draw(point, point);
    }
    this.#tell("settings");
  }

  /** Goes on with a stroke; `isStraight` turns lines to multiples of 45 degrees. */
  extend(points, isStraight = false) {
    const stroke = this.#stroke;
    if (!stroke || stroke.tool === "fill" || !points.length) return;
    if (stroke.tool === "line") {
      const end = points.at(-1), drawn = stroke.area;
      this.ids.set(stroke.before);
      stroke.area = null;
      this.#draw(stroke.anchor, isStraight ? straightened(stroke.anchor, end) : end);
      if (drawn) this.#tell("paint", drawn);
    } else {
      for (const point of points) {
        this.#draw(stroke.last, point);
        stroke.last = point;
      }
    }
  }

  /** Ends a stroke; what it changed can be undone at once. */
  finish() {
    const stroke = this.#stroke;
    if (!stroke) return;
    this.#stroke = null;
    this.#finished(stroke.before, stroke.area, true);
    this.#tell("settings");
  }

  /** Gives a stroke up: the map is as it was before. */
  cancel() {
    const stroke = this.#stroke;
    if (!stroke) return;
    this.#stroke = null;
    this.ids.set(stroke.before);
    if (stroke.area) this.#tell("paint", stroke.area);
    this.#tell("settings");
  }

  get #whole() {
    return { x: 0, y: 0, width: this.size, height: this.size };
  }

  #draw(from, to) {
    const { diameter, label } = this.#stroke;
    this.#painted(drawLine(this.ids, this.size, from, to, diameter, label));
  }

  #painted(area) {
    if (!area) return;
    this.#stroke.area = union(this.#stroke.area, area);
    this.#tell("paint", area);
  }

  #finished(before, area, undoable) {
    const changed = area && difference(before, this.ids, this.size, area);
    if (!changed) return;
    if (undoable) this.#history.add(before, changed);
    this.#changedBy(changed);
  }

  #changedBy(area) {
    this.#tell("paint", area);
    this.#tell("stroke");
    this.#tell("settings");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
