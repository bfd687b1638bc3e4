// Maps from elsewhere: examples, files, dropped and pasted pictures.

import { DONT_CARE_NAME, fittedMap, readMap } from "./maps.js";
import { PngError } from "./png.js";

const MOST_SHOWN = 6;  // unknown values that are listed one by one

/** "1 pixel", "2 pixels". */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function unknownList(map, labels) {
  const items = map.unknown.slice(0, MOST_SHOWN).map(({ value, name, count, nearest }) => {
    const parts = [];
    if (map.holds === "colours") {
      const swatch = make("span", { className: "swatch" });
      swatch.style.backgroundColor = `#${value.toString(16).padStart(6, "0")}`;
      parts.push(swatch);
    }
    const near = nearest === null ? "" : `; nearest: ${labels.name(nearest)}`;
    parts.push(make("span", { textContent: `${name}: ${counted(count, "pixel")}${near}` }));
    return make("li", {}, ...parts);
  });
  const more = map.unknown.length - items.length;
  if (more > 0) items.push(make("li", { textContent: `and ${more} more` }));
  return make("ul", { className: "unknown" }, ...items);
}

/** What is to become of unknown values: "nearest", "none", or "" for leaving the map alone. */
function askAboutUnknown(map, labels, name, { dialog, text }) {
  const noun = map.holds === "colours" ? "colour" : "id";
  const pixels = map.unknown.reduce((sum, { count }) => sum + count, 0);
  const kinds = map.unknown.length;
  const said = `${name} has ${counted(pixels, "pixel")} of ${counted(kinds, noun)} that `
    + `${kinds === 1 ? "is" : "are"} no label of this model:`;
  text.replaceChildren(make("p", { textContent: said }), unknownList(map, labels));
  const choices = [["none", `Make them “${DONT_CARE_NAME}”`], ["", "Don't open it"]];
  if (map.holds === "colours") choices.unshift(["nearest", "Take the nearest labels"]);
  const buttons = choices.map(([value, textContent]) =>
    make("button", { className: "button", value, textContent }));
  dialog.querySelector("form").replaceChildren(...buttons);
  dialog.returnValue = "";  // what Escape leaves
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue), { once: true });
  });
}

/**
 * Opens maps in the editor.
 *
 * @returns {(blob: Blob, name: string) => Promise<boolean>} opens one, true if it is there now;
 *   what can't be read, and what is unknown in it, is told by `say`.
 */
export function startImport(editor, { say, dialog, text, mostBytes }) {
  let newest = 0;

  const read = async (blob, name) => {
    if (blob.size > mostBytes)
      throw new PngError(`has ${blob.size} bytes, more than ${mostBytes}; make it smaller`);
    const map = await readMap(new Uint8Array(await blob.arrayBuffer()), editor.labels);
    if (!map.unknown.length) return { map, choice: undefined };
    return { map, choice: await askAboutUnknown(map, editor.labels, name, { dialog, text }) };
  };

  return async (blob, name) => {
    const number = ++newest;
    if (dialog.open) dialog.close("");
    let result;
    try {
      result = await read(blob, name);
    } catch (error) {
      if (!(error instanceof PngError)) throw error;
      say(`${name} ${error.message}.`, "error");
      return false;
    }
    if (number !== newest) return false;  // another one was opened meanwhile
    const { map, choice } = result;
    if (choice === "") {
      say(`${name} was not opened.`);
      return false;
    }
    editor.setMap(fittedMap(map, editor.size, choice));
    const { size } = editor;
    const isSame = map.width === size && map.height === size;
    const how = isSame ? "" : `, stretched from ${map.width} × ${map.height} pixels`;
    const open = map.unknown.reduce((sum, { count }) => sum + count, 0);
    const instead = choice === "nearest" ? "took the nearest label" : `became “${DONT_CARE_NAME}”`;
    const changed = open ? ` ${counted(open, "pixel")} ${instead}.` : "";
    say(`Opened ${name}, read as ${map.holds}${how}.${changed}`);
    return true;
  };
}

/** Opens what is chosen, dropped on the page or pasted. */
export function startFiles(open, { input, drop, say }) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) open(file, file.name);
    input.value = "";  // so that the same file can be chosen again
  });

  // A style picture has its own place, in the result.
  const isElsewhere = (event) => event.target.closest?.("#result") !== null;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const over = (event) => {
    if (!holdsFiles(event) || event.defaultPrevented) return;
    event.preventDefault();  // else the browser leaves the page for the file
    drop.hidden = isElsewhere(event);
  };
  document.addEventListener("dragenter", over);
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    drop.hidden = true;
    if (!holdsFiles(event) || event.defaultPrevented) return;
    event.preventDefault();
    if (!isElsewhere(event)) openFirst(event.dataTransfer.files);
  });

  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    openFirst(files);
  });

  const openFirst = (files) => {
    const [file] = files;
    if (!file) return;
    if (files.length > 1) say(`Of ${files.length} files the first is opened.`);
    open(file, file.name || "The pasted picture");
  };
}

/** Fills the list of examples; choosing one opens it. */
export async function startExamples(open, { select, say }) {
  const fetched = async (url) => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return response;
  };
  let examples;
  try {
    examples = await (await fetched("/api/examples")).json();
  } catch (error) {
    say(`The examples can't be loaded: ${error.message}.`, "error");
    return () => false;
  }
  select.append(...examples.map(({ name }, i) => new Option(name, String(i))));
  select.disabled = !examples.length;
  const show = async (index) => {
    const { name, url } = examples[index];
    try {
      return await open(await (await fetched(url)).blob(), `“${name}”`);
    } catch (error) {
      say(`The example “${name}” can't be loaded: ${error.message}.`, "error");
      return false;
    }
  };
  select.addEventListener("change", () => {
    const chosen = select.value;
    select.value = "";  // so that the same one can be chosen again
    if (chosen !== "") show(Number(chosen));
  });
  return async () => examples.length > 0 && show(0);
}
