// What a generation is asked for beside the map: seed, variations, truncation, playback, style.

const VARIATIONS = [1, 2, 4, 6], MOST_SEED = 2 ** 32 - 1;
const STYLE_TYPES = ["image/png", "image/jpeg"];

function startSeed({ $, say, onChange }) {
  const field = $("seed");
  const isGood = () => /^\d{1,10}$/.test(field.value.trim()) && Number(field.value) <= MOST_SEED;
  const check = () => {
    field.setAttribute("aria-invalid", String(!isGood()));
    $("seed-rule").hidden = isGood();
    return isGood();
  };
  field.oninput = () => {
    if (check()) onChange();
  };
  field.onchange = () => {
    if (!check()) say($("seed-rule").textContent);
  };
  const set = (seed) => {
    field.value = seed;
    check();
  };
  $("new-seed").onclick = () => {
    set(crypto.getRandomValues(new Uint32Array(1))[0]);
    say(`Seed ${field.value}`);
    onChange();
  };
  const read = () => {
    if (check()) return Number(field.value);
    say($("seed-rule").textContent);
    field.focus();
    return null;
  };
  return { read, set };
}

function startVariations({ $, model, onChange }) {
  const field = $("variations");
  const offered = VARIATIONS.filter((count) => count <= model.max_variations);
  field.replaceChildren(...offered.map((count) => new Option(String(count))));
  field.onchange = onChange;
  const set = (count) => {
    field.value = offered.findLast((least) => least <= count) ?? 1;
  };
  return { read: () => Number(field.value), set };
}

function startTruncation({ $, onChange }) {
  const field = $("truncation"), on = $("truncation-on"), shown = $("truncation-shown");
  const tell = () => {
    field.disabled = !on.checked;
    shown.textContent = on.checked ? Number(field.value).toFixed(2) : "off";
  };
  field.oninput = on.onchange = () => {
    tell();
    onChange();
  };
  const set = (value) => {
    on.checked = value !== null;
    if (value !== null) field.value = value;
    tell();
  };
  tell();
  return { read: () => on.checked ? Number(field.value) : null, set };
}

function startStyle({ $, model, say, notify, onChange }) {
  const field = $("style"), picture = $("style-picture");
  const mostBytes = model.limits.style_bytes;
  let style = null;
  const set = (file) => {
    if (picture.src) URL.revokeObjectURL(picture.src);
    style = file;
    // The same file can be chosen again after it was removed.
    field.value = "";
    picture.hidden = $("style-remove").hidden = !file;
    if (file) picture.src = URL.createObjectURL(file);
    else picture.removeAttribute("src");
  };
  const problemOf = async (file) => {
    if (!STYLE_TYPES.includes(file.type)) return "is neither a PNG nor a JPEG; choose one of these";
    if (file.size > mostBytes)
      return `has ${file.size} bytes, the most is ${mostBytes}; make it smaller`;
    try {
      (await createImageBitmap(file)).close();
    } catch (error) {
      return `can't be read as a picture (${error.message})`;
    }
    return null;
  };
  field.onchange = async () => {
    const [file] = field.files;
    if (!file) return;
    const problem = await problemOf(file);
    if (problem) {
      field.value = "";
      return notify(`The style ${file.name} ${problem}.`);
    }
    set(file);
    notify("");
    say(`Style: ${file.name}`);
    onChange();
  };
  $("style-remove").onclick = () => {
    set(null);
    say("Style removed.");
    field.focus();
    onChange();
  };
  return { read: () => style, set };
}

/**
 * Shows the controls that this model has.
 *
 * @param {object} page
 * @param {(id: string) => Element} page.$
 * @param {object} page.model as /api/model has it.
 * @param {(text: string) => void} page.say in passing.
 * @param {(text: string) => void} page.notify what is to stay until it was read.
 * @param {() => void} page.onChange the user set something else.
 * @returns {{read: () => ?object, set: (values: object) => void}} of {seed, variations, truncation,
 *   playback, style}; `read` gives null, and a word to the user, while one is wrong.
 */
export function startOptions({ $, model, say, notify, onChange }) {
  const hasLatents = model.z_dim > 0, isFilm = model.num_frames > 0;
  for (const id of ["seed-row", "variations-row", "truncation-row"]) $(id).hidden = !hasLatents;
  $("style-row").hidden = !model.has_style;
  for (const id of ["playback-row", "loops"]) $(id).hidden = !isFilm;
  const playback = $("playback");
  playback.onchange = onChange;
  const parts = {
    seed: startSeed({ $, say, onChange }),
    variations: startVariations({ $, model, onChange }),
    truncation: startTruncation({ $, onChange }),
    style: startStyle({ $, model, say, notify, onChange }),
    playback: { read: () => playback.value, set: (value) => { playback.value = value; } },
  };
  const read = () => {
    const values = {};
    for (const [name, part] of Object.entries(parts)) values[name] = part.read();
    // What is hidden may have come with a link made by another model.
    if (!hasLatents) Object.assign(values, { variations: 1, truncation: null });
    return values.seed === null ? null : values;
  };
  const set = (values) => {
    for (const [name, part] of Object.entries(parts)) part.set(values[name]);
  };
  return { read, set };
}
