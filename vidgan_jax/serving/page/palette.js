// The labels to draw with: radio buttons, the most frequent first, and a search among many.

import { DONT_CARE, DONT_CARE_NAME } from "./maps.js";

const MOST_WITHOUT_SEARCH = 20;
// Keys of the first ten labels.
export const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function row({ id, name, colour }, key, onPick) {
  const radio = make("input", { type: "radio", name: "label", value: String(id) });
  radio.dataset.label = String(id);
  if (key) radio.setAttribute("aria-keyshortcuts", key);
  radio.addEventListener("change", () => onPick(id));
  const swatch = make("span", { className: "swatch" });
  swatch.setAttribute("aria-hidden", "true");
  if (id === DONT_CARE) swatch.classList.add("none");
  else swatch.style.backgroundColor = colour;
  const parts = [radio, swatch, make("span", { className: "name", textContent: name })];
  if (key) {
    const hint = make("kbd", { textContent: key });
    hint.setAttribute("aria-hidden", "true");
    parts.push(hint);
  }
  const label = make("label", { className: "label", title: name }, ...parts);
  return { name: name.toLowerCase(), label, radio };
}

/**
 * Fills the palette and keeps it in step with the editor.
 *
 * @param {import("./editor.js").Editor} editor
 * @param {{fieldset, searchRow, search, none}} parts of the page.
 */
export function startPalette(editor, { fieldset, searchRow, search, none }) {
  const onPick = (id) => {
    editor.label = id;
    if (editor.tool === "eraser" || editor.tool === "pan") editor.tool = "brush";
  };
  const entries = [...editor.labels.list, { id: DONT_CARE, name: DONT_CARE_NAME, colour: "#000" }];
  const rows = entries.map((entry, i) =>
    row(entry, entry.id === DONT_CARE ? undefined : DIGITS[i], onPick));
  fieldset.append(...rows.map(({ label }) => label));
  searchRow.hidden = editor.labels.list.length <= MOST_WITHOUT_SEARCH;

  search.addEventListener("input", () => {
    const words = search.value.trim().toLowerCase().split(/\s+/);
    for (const { name, label } of rows) label.hidden = !words.every((word) => name.includes(word));
    none.hidden = rows.some(({ label }) => !label.hidden);
  });
  search.addEventListener("keydown", (event) => {
    const first = rows.find(({ label }) => !label.hidden);
    if (event.key !== "Enter" || !first) return;
    first.radio.checked = true;
    first.radio.focus();
    onPick(Number(first.radio.value));
  });

  const show = () => {
    const chosen = rows.find(({ radio }) => Number(radio.value) === editor.label);
    if (chosen.radio.checked) return;
    chosen.radio.checked = true;
    reveal(chosen.label, fieldset);
  };
  editor.addEventListener("settings", show);
  show();
}

// Not scrollIntoView, which would move the page as well.
function reveal(label, box) {
  const inner = label.getBoundingClientRect(), outer = box.getBoundingClientRect();
  if (inner.top < outer.top) box.scrollTop -= outer.top - inner.top;
  else if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
  if (inner.left < outer.left) box.scrollLeft -= outer.left - inner.left;
  else if (inner.right > outer.right) box.scrollLeft += inner.right - outer.right;
}
