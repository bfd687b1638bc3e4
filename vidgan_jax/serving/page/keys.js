// The keyboard: shortcuts on the whole page, and a cursor on the canvas.

import { DIGITS } from "./palette.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LONG_STEP = 8;  // pixels of the map
const PAN_STEP = 40;  // CSS pixels
const ZOOM_STEP = 1.25;
const TOOL_KEYS = { b: "brush", l: "line", f: "fill", e: "eraser", h: "pan" };
const BRUSHES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];
const TEXT = "input:not([type=range], [type=radio], [type=checkbox], [type=file], [type=button]), "
  + "textarea, select, [contenteditable]";

/** What the help lists: keys, and what they do. */
export const SHORTCUTS = [
  ["B, L, F, E", "brush, straight line, fill, eraser"],
  ["H", "move the view"],
  ["1 … 9, 0", "the first ten labels"],
  ["X", "the label before this one"],
  ["I", "take up the label under the pointer (also Alt or right click)"],
  ["[ and ]", "smaller, larger brush"],
  ["Ctrl+Z", "undo"],
  ["Ctrl+Shift+Z, Ctrl+Y", "redo"],
  ["Z", "zoom to fit"],
  ["+ and −", "zoom in and out (also the wheel, or two fingers)"],
  ["Shift", "held: the straight line turns in steps of 45°"],
  ["Esc", "give the stroke up"],
  ["Ctrl+V", "paste a map"],
  ["?", "this help"],
];

/** The next brush size along the row of usual ones. */
export function nextBrush(size, direction) {
  const further = BRUSHES.filter((other) => (direction > 0 ? other > size : other < size));
  return (direction > 0 ? further[0] : further.at(-1)) ?? size;
}

function zoomBy(key, view) {
  if (key === "+" || key === "=") view.zoom(ZOOM_STEP);
  else if (key === "-") view.zoom(1 / ZOOM_STEP);
  else return false;
  return true;
}

/** Shortcuts of the page; `actions` are {pick, help}; `isOn()` tells if single keys are meant. */
export function startShortcuts(editor, view, { pick, help, isOn }) {
  const digits = new Map(editor.labels.list.slice(0, DIGITS.length).map(({ id }, i) =>
    [DIGITS[i], id]));
  const single = (key) => {
    if (key in TOOL_KEYS) editor.tool = TOOL_KEYS[key];
    else if (digits.has(key)) editor.label = digits.get(key);
    else if (key === "x") editor.swapLabels();
    else if (key === "i") pick();
    else if (key === "z") view.fit();
    else if (key === "[") editor.brushSize = nextBrush(editor.brushSize, -1);
    else if (key === "]") editor.brushSize = nextBrush(editor.brushSize, 1);
    else if (key === "?") help();
    else return zoomBy(key, view);
    return true;
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const isText = event.target.closest?.(TEXT);
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      if (isText && !isText.matches("select")) return;
      if (key === "z") event.shiftKey ? editor.redo() : editor.undo();
      else if (key === "y" && !event.shiftKey) editor.redo();
      else return;
      event.preventDefault();
    } else if (key === "escape" && editor.isDrawing) {
      editor.cancel();
    } else if (!isText && !event.metaKey && !event.altKey && isOn() && single(key)) {
      event.preventDefault();
    }
  });
}

/**
 * Drawing with the keyboard: arrows move a cursor, Space and Enter paint while they are held; a
 * line begins with one press and ends with the next.
 */
export function startCursor(editor, view, canvas, onMove) {
  let place = { x: editor.size >> 1, y: editor.size >> 1 }, held = null, isLine = false;
  const middle = () => ({ x: place.x + 0.5, y: place.y + 0.5 });
  const show = () => {
    view.cursor = middle();
    onMove(middle());
  };

  const step = ([right, down], length) => {
    const within = (value) => Math.min(Math.max(value, 0), editor.size - 1);
    place = { x: within(place.x + right * length), y: within(place.y + down * length) };
    show();
    editor.extend([middle()]);
  };

  const press = (key) => {
    show();
    if (isLine && editor.isDrawing) {
      isLine = false;
      editor.finish();
    } else {
      editor.begin(middle());
      isLine = editor.tool === "line";
      if (!isLine) held = key;
    }
  };

  const release = () => {
    if (held === null) return;
    held = null;
    editor.finish();
  };

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isPaint = event.key === " " || event.key === "Enter";
    if (event.key in STEPS) {
      const [right, down] = STEPS[event.key];
      if (editor.tool === "pan") view.pan(-right * PAN_STEP, -down * PAN_STEP);
      else step([right, down], event.shiftKey ? LONG_STEP : 1);
    } else if (isPaint) {
      if (!event.repeat && held === null) press(event.key);
    } else if (event.key === "Escape" && editor.isDrawing) {
      held = null;
      editor.cancel();
    } else {
      return;
    }
    event.preventDefault();
  });
  canvas.addEventListener("keyup", (event) => {
    if (event.key === held) release();
  });
  canvas.addEventListener("blur", () => {
    release();
    if (isLine) editor.cancel();
    isLine = false;
    view.cursor = null;
    onMove(null);
  });
  canvas.addEventListener("focus", () => {
    if (canvas.matches(":focus-visible")) show();
  });
  return { moveTo: ({ x, y }) => { place = { x: Math.floor(x), y: Math.floor(y) }; } };
}
