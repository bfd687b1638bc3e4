// Undo and redo: rectangles of ids, as many as fit into a bound of memory.

import { union } from "./tools.js";

/** The smallest rectangle in which two maps differ, within `area`; null where they are the same. */
export function difference(before, after, size, area) {
  let found = null;
  for (let y = area.y; y < area.y + area.height; y++) {
    const start = y * size;
    let first = area.x, last = area.x + area.width - 1;
    while (first <= last && before[start + first] === after[start + first]) first++;
    if (first > last) continue;
    while (before[start + last] === after[start + last]) last--;
    found = union(found, { x: first, y, width: last - first + 1, height: 1 });
  }
  return found;
}

function copied(ids, size, { x, y, width, height }) {
  const patch = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    const from = (y + row) * size + x;
    patch.set(ids.subarray(from, from + width), row * width);
  }
  return patch;
}

function pasted(ids, size, { x, y, width, height }, patch) {
  for (let row = 0; row < height; row++)
    ids.set(patch.subarray(row * width, (row + 1) * width), (y + row) * size + x);
}

/**
 * The changes of a map of size² ids.
 *
 * Each change keeps one rectangle: what the map held there before it, or, once undone, after it.
 * Where all together take more than `bytes`, the oldest are forgotten.
 */
export class History {
  #size;
  #bound;
  #changes = [];
  #done = 0;
  #bytes = 0;

  constructor(size, bytes = 16 << 20) {
    this.#size = size;
    this.#bound = bytes;
  }

  get canUndo() {
    return this.#done > 0;
  }

  get canRedo() {
    return this.#done < this.#changes.length;
  }

  /** Bytes that the changes hold. */
  get bytes() {
    return this.#bytes;
  }

  /** Keeps what `before` held in the rectangle; what was undone can't be redone any more. */
  add(before, rectangle) {
    for (const { patch } of this.#changes.splice(this.#done)) this.#bytes -= patch.length;
    const patch = copied(before, this.#size, rectangle);
    this.#changes.push({ rectangle, patch });
    this.#bytes += patch.length;
    // The newest stays, however large: a stroke that can't be undone would be worse.
    while (this.#bytes > this.#bound && this.#changes.length > 1)
      this.#bytes -= this.#changes.shift().patch.length;
    this.#done = this.#changes.length;
  }

  /** Takes the newest change back; returns its rectangle, or null if there is none. */
  undo(ids) {
    return this.canUndo ? this.#swap(ids, this.#changes[--this.#done]) : null;
  }

  /** Makes the change undone last again; returns its rectangle, or null if there is none. */
  redo(ids) {
    return this.canRedo ? this.#swap(ids, this.#changes[this.#done++]) : null;
  }

  clear() {
    this.#changes = [];
    this.#done = this.#bytes = 0;
  }

  #swap(ids, change) {
    const now = copied(ids, this.#size, change.rectangle);
    pasted(ids, this.#size, change.rectangle, change.patch);
    change.patch = now;
    return change.rectangle;
  }
}
