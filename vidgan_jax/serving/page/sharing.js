// The state of the page into a link or a file, and back.

import { nameOf, save } from "./downloads.js";
import { StateError, fitted, fromFile, fromFragment, toFile, toFragment } from "./share.js";

const MOST_FILE_BYTES = 64 * 2 ** 20, LONG_LINK = 8000;

// What had to be changed so that the state fits this model, as sentences; "" for nothing.
function changesOf(state, { unknown, isStretched }, model) {
  const said = [];
  if (isStretched)
    said.push(`Its map of ${state.size} × ${state.size} was stretched to this model's size.`);
  if (unknown)
    said.push(`${unknown} of its pixels have labels that this model doesn't know; they are empty.`);
  if (state.style && !model.has_style) said.push("This model takes no style; it was left out.");
  return said.join(" ");
}

/** Sets up the buttons of links and files, and opens the link that the page was called with. */
export function startSharing({ $, model, editor, options, say, notify, onOpen }) {
  const known = new Set(model.labels.map((label) => label.id));
  const read = () => {
    const values = options.read();
    return values && { ...values, size: model.size, ids: editor.ids };
  };
  const apply = (state, what) => {
    const fit = fitted(state, { size: model.size, known });
    options.set({ ...state, style: model.has_style ? state.style : null });
    editor.setMap(fit.ids, { undoable: true });
    const changes = changesOf(state, fit, model);
    notify(changes && `${what} opened. ${changes}`);
    if (!changes) say(`${what} opened.`);
    onOpen();
  };
  const refuse = (what, error) => {
    if (!(error instanceof StateError)) throw error;
    notify(`${what} was ignored: ${error.message}.`);
  };
  const followLink = () => {
    try {
      const state = fromFragment(location.hash);
      if (state) apply(state, "The link's drawing");
    } catch (error) {
      refuse("The drawing in the address", error);
    }
  };

  $("share").onclick = async () => {
    const state = read();
    if (!state) return;
    history.replaceState(null, "", `#${toFragment(state)}`);
    const notes = state.style ? " The style isn't part of it; the file has it." : "";
    const long = location.href.length > LONG_LINK
      ? ` It has ${location.href.length} characters, more than some programs take.` : "";
    try {
      await navigator.clipboard.writeText(location.href);
      say(`Link copied.${notes}${long}`);
    } catch (error) {
      // Not allowed, or no clipboard on a page that isn't of this machine.
      say(`The link is in the address bar; copy it from there.${notes}${long}`);
    }
  };
  $("save-state").onclick = async () => {
    const state = read();
    if (!state) return;
    const file = await toFile(state, model.name);
    save(file, nameOf(model.name, ["drawing", state.seed], file.type));
    say("Drawing and settings saved.");
  };
  $("load-state").onchange = async ({ target }) => {
    const [file] = target.files;
    if (!file) return;
    const what = `The file ${file.name}`;
    try {
      if (file.size > MOST_FILE_BYTES) throw new StateError(`it has ${file.size} bytes, too many`);
      apply(fromFile(await file.text()), what);
    } catch (error) {
      refuse(what, error);
    }
    target.value = "";
  };
  addEventListener("hashchange", followLink);
  followLink();
}
