// The server's HTTP interface: what it refuses becomes an ApiError that says why, in its words.

const TRY_AGAIN = new Set([429, 503]);
const MOST_SECONDS = 60, NETWORK_SECONDS = 5;

/**
 * A refusal: `status` is HTTP's, 0 for no answer at all; `field` the one that is wrong, or null;
 * `seconds` how long the server asks to wait, null if it doesn't.
 */
export class ApiError extends Error {
  constructor(message, { status, field = null, seconds = null }) {
    // The server's words have no full stop, and others follow them.
    super(/[.!?]$/.test(message) ? message : `${message}.`);
    this.name = "ApiError";
    Object.assign(this, { status, field, seconds });
  }

  get isPassing() {
    return this.status === 0 || TRY_AGAIN.has(this.status);
  }
}

function isAbort(error) {
  return error?.name === "AbortError";
}

function noAnswer(error) {
  return isAbort(error) ? error
    : new ApiError("The server can't be reached; is it still running?", { status: 0 });
}

// Retry-After comes as seconds or as a date; with neither, a second.
function secondsToWait(headers) {
  const text = headers.get("Retry-After") ?? "";
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0.2), MOST_SECONDS) : 1;
}

async function refusal(response) {
  let said = {};
  try {
    said = (await response.json()).error ?? {};
  } catch (error) {
    // A proxy's page, or an answer cut off: the status has to do.
    if (isAbort(error)) throw error;
  }
  const message = said.message ?? `The server answered ${response.status} without a word.`;
  const seconds = TRY_AGAIN.has(response.status) ? secondsToWait(response.headers) : null;
  return new ApiError(message, { status: response.status, field: said.field ?? null, seconds });
}

async function ask(address, read, options = {}) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", ...options });
    if (response.ok) return await read(response);
  } catch (error) {
    throw noAnswer(error);
  }
  throw await refusal(response);
}

/** What /api/model says. Rejects with an ApiError. */
export function fetchModel() {
  return ask("/api/model", (response) => response.json());
}

// One request in flight at a time, whoever asks: the next begins when the one before has ended.
let before = Promise.resolve();
function inTurn(task) {
  const run = before.then(task);
  before = run.then(() => {}, () => {});  // the caller of `run` is told of its error
  return run;
}

function formOf(order, format) {
  const form = new FormData();
  form.append("map", order.map, "map.png");
  if (order.style) form.append("style", order.style, "style");
  const fields = { seed: order.seed, variation: order.variation, playback: order.playback, format,
    loops: order.loops ?? 1 };
  if (order.truncation !== null) fields.truncation = order.truncation;
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  return form;
}

function send(order, format, signal) {
  return inTurn(async () => {
    signal.throwIfAborted();
    const began = performance.now();
    const options = { method: "POST", body: formOf(order, format), signal };
    return ask("/api/generate", async (response) => {
      const blob = await response.blob();
      return { blob, milliseconds: Math.round(performance.now() - began),
        generation: Number(response.headers.get("X-Generation-Ms")) || null };
    }, options);
  });
}

function pause(seconds, signal) {
  return new Promise((done, stopped) => {
    const stop = () => {
      clearTimeout(timer);
      stopped(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      done();
    }, seconds * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * Has the server make a clip; a busy server is asked again when it says, an unreachable one ever
 * more slowly.
 *
 * @param {object} order {map: Blob, style: Blob or null, seed, variation, truncation: number or
 *   null, playback, loops: 1 if left out}.
 * @param {object} how
 * @param {string} how.format mp4, webp, gif or png.
 * @param {AbortSignal} how.signal gives it up.
 * @param {() => void} how.onSend hears of each try.
 * @param {(error: ApiError, seconds: number) => void} how.onWait hears of each wait.
 * @param {() => boolean} how.isOutdated asked after a wait, whether the clip is wanted no more.
 * @returns {Promise<?{blob: Blob, milliseconds: number, generation: ?number}>} of the request and,
 *   in it, of the server's generation, both in ms; null once outdated. Rejects with an ApiError
 *   when refused, with an AbortError when given up.
 */
export async function generate(order, { format, signal, onSend, onWait, isOutdated }) {
  for (let tries = 0; ; tries++) {
    try {
      onSend();
      return await send(order, format, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || !error.isPassing) throw error;
      const seconds = error.seconds ?? Math.min(2 ** tries, NETWORK_SECONDS);
      onWait(error, seconds);
      await pause(seconds, signal);
      if (isOutdated()) return null;
    }
  }
}
