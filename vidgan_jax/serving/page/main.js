// The studio's page: asks the server for its model and puts the parts together.

import { fetchModel } from "./api.js";
import { nameOf, save } from "./downloads.js";
import { Editor } from "./editor.js";
import { startExamples, startFiles, startImport } from "./importing.js";
import { SHORTCUTS, startCursor, startShortcuts } from "./keys.js";
import { DONT_CARE_NAME, Labels, coloursPng, idsPng } from "./maps.js";
import { startPalette } from "./palette.js";
import { startPointers } from "./pointers.js";
import { startVideo } from "./video.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const SPOKEN_MS = 300;

/**
 * Tells everybody, screen readers too; `kind` "error" is shown as such, and "quiet" is only read
 * aloud: it would cover what was said before, and the eye sees it elsewhere.
 */
function say(text, kind = "info") {
  if (kind === "quiet") {
    $("spoken").textContent = text;
    return;
  }
  $("status").textContent = text;
  $("status").classList.toggle("error", kind === "error");
}

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function startTools(editor) {
  const tools = [...$("tools").querySelectorAll("[data-tool]")];
  for (const button of tools)
    button.addEventListener("click", () => { editor.tool = button.dataset.tool; });
  const size = $("brush-size");
  size.max = editor.maxBrushSize;
  size.addEventListener("input", () => { editor.brushSize = Number(size.value); });
  $("undo").addEventListener("click", () => editor.undo());
  $("redo").addEventListener("click", () => editor.redo());
  $("clear").addEventListener("click", () => {
    editor.clear();
    say(`Cleared: ${editor.labels.name(editor.defaultLabel)} everywhere. Undo brings it back.`);
  });
  const eraser = `Eraser (E): leaves “${editor.labels.name(editor.defaultLabel)}”`;
  $("tools").querySelector("[data-tool=eraser]").title = eraser;

  const show = () => {
    for (const button of tools)
      button.setAttribute("aria-pressed", String(button.dataset.tool === editor.tool));
    size.value = editor.brushSize;
    size.setAttribute("aria-valuetext", `${editor.brushSize} pixels`);
    $("brush-size-shown").textContent = editor.brushSize;
    $("undo").disabled = !editor.canUndo;
    $("redo").disabled = !editor.canRedo;
    $("canvas").dataset.tool = editor.tool;
  };
  editor.addEventListener("settings", show);
  show();
}

/** Shows what lies under the pointer or the cursor; the cursor's is read aloud when it rests. */
function startReadout(editor) {
  let timer = null;
  return (point, { isSpoken = false } = {}) => {
    clearTimeout(timer);
    const label = point && editor.labelAt(point);
    const text = label === null ? ""
      : `${Math.floor(point.x)}, ${Math.floor(point.y)}: ${editor.labels.name(label)}`;
    $("readout").textContent = text;
    if (isSpoken && text)
      timer = setTimeout(() => { $("spoken").textContent = text; }, SPOKEN_MS);
  };
}

function startHelp(editor) {
  const paragraphs = [
    "Draw with mouse, pen or finger; two fingers or the wheel zoom, the middle button moves the "
    + "view.",
    `The eraser leaves “${editor.labels.name(editor.defaultLabel)}”, which the empty map is made `
    + `of. “${DONT_CARE_NAME}”, at the end of the labels, is no label: what is there is left to `
    + "the model.",
    "With the canvas in focus, arrow keys move a cursor (with Shift by eight pixels) and Space or "
    + "Enter paints; hold it and move to draw. A straight line begins with one press and ends with "
    + "the next.",
  ].map((textContent) => make("p", { textContent }));
  const rows = SHORTCUTS.map(([keys, what]) => make("div", {},
    make("dt", { textContent: keys }), make("dd", { textContent: what })));
  const isOn = make("input", { type: "checkbox", checked: true });
  const choice = make("label", { className: "choice" }, isOn,
    make("span", { textContent: "Single keys are shortcuts" }));
  $("help-text").replaceChildren(...paragraphs, make("dl", { className: "keys" }, ...rows), choice);
  const show = () => $("help-dialog").showModal();
  $("help").addEventListener("click", show);
  return { show, isOn: () => isOn.checked };
}

function startCanvas(editor, help) {
  const canvas = $("canvas"), view = new View(editor, canvas);
  const readOut = startReadout(editor);
  let under = null;
  const pick = (point) => {
    const label = point && editor.labelAt(point);
    if (label === null) return;
    editor.label = label;
    say(`Took up ${editor.labels.name(label)}.`);
  };
  const cursor = startCursor(editor, view, canvas, (point) => readOut(point, { isSpoken: true }));
  startPointers(editor, view, canvas, {
    onPick: pick,
    onHover: (point) => {
      under = point;
      if (point && editor.labelAt(point) !== null) cursor.moveTo(point);
      readOut(point);
    },
  });
  startShortcuts(editor, view, {
    pick: () => pick(view.cursor ?? under), help: help.show, isOn: help.isOn,
  });
  $("zoom-fit").addEventListener("click", () => view.fit());
}

function startExport(editor, name) {
  const exportAs = async (part, png) => {
    const file = nameOf(name, [part], "image/png");
    save(await png, file);
    say(`Saved ${file}.`);
  };
  $("export-ids").addEventListener("click", () =>
    exportAs("ids", idsPng(editor.ids, editor.size)));
  $("export-colours").addEventListener("click", () =>
    exportAs("colours", coloursPng(editor.ids, editor.size, editor.labels)));
}

async function start() {
  const model = await fetchModel();
  const labels = new Labels(model.labels);
  const editor = new Editor({ size: model.size, labels, defaultLabel: model.default_label });
  $("model-name").textContent = `${model.name}, step ${model.step}, ${model.size} × ${model.size}`;
  startTools(editor);
  startPalette(editor, {
    fieldset: $("palette"), searchRow: $("palette-search-row"), search: $("palette-search"),
    none: $("palette-none"),
  });
  startCanvas(editor, startHelp(editor));
  startExport(editor, model.name);
  const open = startImport(editor, {
    say, dialog: $("unknown-dialog"), text: $("unknown-text"), mostBytes: model.limits.map_bytes,
  });
  startFiles(open, { input: $("import"), drop: $("drop"), say });
  const openFirst = await startExamples(open, { select: $("examples"), say });
  // Something to see at once; an address that holds a drawing has its own.
  if (location.hash.length < 2 && await openFirst()) {
    editor.setMap(editor.ids.slice(), { undoable: false });
    say("An example to start from: draw on it, or clear it.");
  } else if ($("status").textContent === "Loading") {
    say("Draw on the map.");
  }
  document.body.dataset.state = "ready";
  startVideo({ editor, model, root: $("result"), say });
}

start().catch((error) => {
  say(`The studio can't start: ${error.message}`, "error");
  throw error;
});
