// The result beside the canvas: when and of what clips are made, and what is said about it.

import { fetchModel } from "./api.js";
import { Clips } from "./clips.js";
import { Maker } from "./making.js";
import { startDownloads } from "./downloads.js";
import { startOptions } from "./options.js";
import { startSharing } from "./sharing.js";

const CALM_MS = 250, TICK_MS = 100, POLL_MS = 1000;

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

// What is going on, for the eye; `say` has the few words of it that are read aloud.
class Progress {
  #line;
  #trouble;
  #stop;
  #timer = null;

  constructor($) {
    this.#line = $("making");
    this.#trouble = $("trouble");
    this.#stop = $("stop");
  }

  write(text, { isBusy = false } = {}) {
    clearInterval(this.#timer);
    this.#line.textContent = text;
    this.#line.classList.toggle("busy", isBusy);
    this.#stop.disabled = !isBusy;
  }

  // Not in the place of what is going on.
  remark(text) {
    if (this.#stop.disabled) this.write(text);
  }

  count(text) {
    const began = performance.now();
    const tick = () => {
      this.#line.textContent = `${text} ${seconds(performance.now() - began)}`;
    };
    this.write("", { isBusy: true });
    this.#timer = setInterval(tick, TICK_MS);
    tick();
  }

  complain(text) {
    this.#trouble.textContent = text;
    this.#trouble.hidden = !text;
  }
}

// What is to stay until it was read; "" takes it away.
function startNotice($, say) {
  const notify = (text) => {
    $("notice-text").textContent = text;
    $("notice").hidden = !text;
    if (text) say(text);
  };
  $("notice-close").onclick = () => {
    notify("");
    $("generate").focus();
  };
  return notify;
}

// Resolves when the model can run; tells of its compilation meanwhile.
async function untilReady(model, progress, say) {
  let { state, seconds: since = 0, error } = model, isSaid = false;
  while (state !== "ready") {
    if (state === "failed") throw new Error(`The model could not be compiled: ${error}`);
    const text = `The model is compiling, ${Math.round(since)} s so far; you can draw meanwhile.`;
    progress.write(text, { isBusy: true });
    if (!isSaid) say(text);
    isSaid = true;
    await new Promise((done) => setTimeout(done, POLL_MS));
    try {
      ({ state, seconds: since = 0, error } = await fetchModel());
      progress.complain("");
    } catch (problem) {
      progress.complain(problem.message);
    }
  }
  progress.write("Ready.");
  if (isSaid) say("The model is ready.");
}

function heard({ clips, progress, say, noun }) {
  let complained = "";
  return {
    began(number, count) {
      const which = count > 1 ? ` ${number + 1} of ${count}` : "";
      progress.count(`Generating ${noun}${which}:`);
    },
    waits(error, wait) {
      const text = `${error.message} Trying again in ${Math.ceil(wait)} s.`;
      progress.write(text, { isBusy: true });
      if (error.status === 0) progress.complain(error.message);
      if (error.message !== complained) say(text);
      complained = error.message;
    },
    async made(number, record, count) {
      clips.setCount(count);
      await clips.show(number, record);
      progress.complain("");
      complained = "";
    },
    ended(results) {
      const [{ milliseconds, generation }] = results, count = results.length;
      const all = results.reduce((sum, result) => sum + result.milliseconds, 0);
      const inside = generation === null ? "" : ` (${generation} ms of them generating)`;
      progress.write(count > 1 ? `${count} ${noun}s in ${seconds(all)}.`
        : `${milliseconds} ms${inside}.`);
      say(count > 1 ? `${count} ${noun}s ready.` : `The ${noun} is ready.`, "quiet");
    },
    outdated() {
      progress.write("");
    },
    stopped() {
      progress.write("Stopped.");
      say("Stopped.");
    },
    failed(error) {
      progress.write("");
      progress.complain(error.message);
      say(error.message, "error");
    },
  };
}

function startPlaying(clips, button, still) {
  button.onclick = () => clips.setMoving(!clips.isMoving);
  still.onchange = () => clips.setMoving(!still.matches);
  return () => {
    button.hidden = !clips.hasFilms;
    button.textContent = clips.isMoving ? "Pause" : "Play";
  };
}

/**
 * Brings the section to life.
 *
 * @param {object} page
 * @param {import("./editor.js").Editor} page.editor
 * @param {object} page.model as /api/model has it.
 * @param {Element} page.root the section #result.
 * @param {(text: string) => void} page.say tells everybody in a few words, screen readers too.
 */
export function startVideo({ editor, model, root, say }) {
  const $ = (id) => root.querySelector(`#${id}`);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const noun = model.num_frames ? "clip" : "picture";
  const progress = new Progress($);
  const changed = [];
  const clips = new Clips($("videos"), { isMoving: !still.matches,
    onChange: () => changed.forEach((tell) => tell()) });
  changed.push(startPlaying(clips, $("play"), still));

  const ready = untilReady(model, progress, say);
  const maker = new Maker({ ready, format: model.num_frames ? "mp4" : "png",
    hear: heard({ clips, progress, say, noun }) });
  ready.catch((error) => {
    $("generate").disabled = true;
    progress.write("");
    progress.complain(error.message);
    say(error.message, "error");
  });

  let timer = null;
  function generate() {
    clearTimeout(timer);
    const wanted = options.read();
    if (!wanted) return;
    const { variations: count, ...given } = wanted;
    maker.want({ map: editor.mapPng(), count, options: given });
  }
  function generateSoon() {
    clearTimeout(timer);
    if (!$("live").checked) return progress.remark(`Changed since; "Generate" makes the ${noun}.`);
    timer = setTimeout(generate, CALM_MS);
  }

  const notify = startNotice($, say);
  const options = startOptions({ $, model, say, notify, onChange: generateSoon });
  changed.push(startDownloads({ $, model, clips, say, notify }));
  startSharing({ $, model, editor, options, say, notify, onOpen: generateSoon });
  $("generate").onclick = generate;
  $("stop").onclick = () => maker.stop();
  $("live").onchange = generateSoon;
  editor.addEventListener("stroke", generateSoon);
  changed.forEach((tell) => tell());
  generateSoon();
}
