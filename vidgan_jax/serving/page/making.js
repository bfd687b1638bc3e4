// The order of generations: one is made, the newest one wanted waits, those between are forgotten.

import { generate } from "./api.js";

/** Makes batches of clips, one request at a time. */
export class Maker {
  #ready;
  #format;
  #hear;
  #wanted = null;
  #stopping = null;

  /**
   * @param {object} options
   * @param {Promise<void>} options.ready resolves when the model can run.
   * @param {string} options.format of the clips, as api.js has it.
   * @param {object} options.hear is told: began(number, count) of each try; waits(error, seconds);
   *   made(number, record, count), which is waited for; ended(results); outdated(), stopped(),
   *   failed(error) instead of it.
   */
  constructor({ ready, format, hear }) {
    this.#ready = ready;
    this.#format = format;
    this.#hear = hear;
  }

  /**
   * Makes a batch next, instead of one that still waits. A clip in flight is let finish, as the
   * server could not stop computing it; the others of its batch are not sent.
   *
   * @param {{map: Promise<Blob>, count: number, options: object}} batch `options` are the other
   *   fields of api.js's order.
   */
  want(batch) {
    this.#wanted = batch;
    if (!this.#stopping) this.#work();
  }

  /** Gives up what is being made and what is wanted. */
  stop() {
    this.#wanted = null;
    this.#stopping?.abort();
  }

  async #work() {
    while (this.#wanted) {
      const batch = this.#wanted;
      this.#wanted = null;
      this.#stopping = new AbortController();
      try {
        await this.#make(batch, this.#stopping.signal);
      } catch (error) {
        if (error.name === "AbortError") this.#hear.stopped();
        else this.#hear.failed(error);
      }
    }
    this.#stopping = null;
  }

  async #make(batch, signal) {
    await unlessStopped(this.#ready, signal);
    const isOutdated = () => this.#wanted !== null;
    const map = await batch.map, results = [];
    for (let variation = 0; variation < batch.count; variation++) {
      if (isOutdated()) return this.#hear.outdated();
      const order = { ...batch.options, map, variation };
      const result = await generate(order, { format: this.#format, signal, isOutdated,
        onSend: () => this.#hear.began(variation, batch.count), onWait: this.#hear.waits });
      if (!result) return this.#hear.outdated();
      await this.#hear.made(variation, { blob: result.blob, order }, batch.count);
      results.push(result);
    }
    this.#hear.ended(results);
  }
}

function unlessStopped(promise, signal) {
  return new Promise((done, failed) => {
    signal.addEventListener("abort", () => failed(signal.reason), { once: true });
    promise.then(done, failed);
  });
}
