// Files that the browser saves: the chosen clip as MP4 and GIF, and the map that it was made of.

import { generate } from "./api.js";

const ENDINGS = { "video/mp4": "mp4", "image/gif": "gif", "image/png": "png", "image/webp": "webp",
  "application/json": "json" };
const KEPT_MS = 30_000;

/** A name that any file system takes: the model's, what tells this file from others, ending. */
export function nameOf(modelName, parts, type) {
  const words = [modelName, ...parts].map((part) => String(part).replace(/[^\w.-]+/g, "_"));
  return `${words.join("_")}.${ENDINGS[type.split(";")[0]] ?? "bin"}`;
}

/** Has the browser save a Blob under a name. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Not at once: the browser reads the address after this click has been dealt with.
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

/** Sets the buttons up; gives the function that enables them when there is a clip. */
export function startDownloads({ $, model, clips, say, notify }) {
  const isFilm = model.num_frames > 0;
  const buttons = ["download-mp4", "download-gif", "download-map"].map($);
  const [film, gif, map] = buttons;
  if (!isFilm) {
    film.textContent = "PNG";
    film.setAttribute("aria-label", "Download the picture as PNG");
    gif.hidden = true;
  }

  const nameFor = (order, type, what = "") => nameOf(model.name,
    [`seed${order.seed}`, `v${order.variation + 1}`, ...(what ? [what] : [])], type);

  // Made anew by the server, of the very map and options of the clip that is shown.
  const busy = new Set();
  const enable = () => {
    for (const button of buttons) button.disabled = !clips.chosen || busy.has(button);
  };
  const fetchAs = async (button, format, order) => {
    busy.add(button);
    enable();
    try {
      const onWait = (error, wait) =>
        say(`${error.message} Trying again in ${Math.ceil(wait)} s.`);
      const { blob } = await generate(order, { format, onWait, isOutdated: () => false,
        signal: new AbortController().signal,
        onSend: () => say(`Making the ${format.toUpperCase()}.`) });
      save(blob, nameFor(order, blob.type));
      say(`${format.toUpperCase()} saved.`);
    } catch (error) {
      notify(error.message);
    } finally {
      busy.delete(button);
      enable();
    }
  };

  film.onclick = () => {
    const { blob, order } = clips.chosen;
    const loops = Number($("loops").value);
    if (isFilm && loops > 1) return fetchAs(film, "mp4", { ...order, loops });
    save(blob, nameFor(order, blob.type));
    say(`${isFilm ? "MP4" : "PNG"} saved.`);
  };
  gif.onclick = () => fetchAs(gif, "gif", clips.chosen.order);
  map.onclick = () => {
    const { order } = clips.chosen;
    save(order.map, nameFor(order, order.map.type, "map"));
    say("Map saved.");
  };
  return enable;
}
