// The clips (or pictures) side by side: shown, exchanged without a gap, chosen, played, paused.

const FRAME_MS = 300, PLAYABLE_MS = 10_000, OLD_MS = 300;

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function discard(media) {
  media.remove();
  URL.revokeObjectURL(media.src);
  if (!(media instanceof HTMLVideoElement)) return;
  // Else the decoder and its buffers stay until the collector comes by.
  media.onerror = media.oncanplay = null;
  media.removeAttribute("src");
  media.load();
}

// Until `film` has painted a frame. In a hidden tab frames aren't painted: being able to is enough.
function paints(film) {
  return new Promise((done, failed) => {
    const late = setTimeout(() => failed(new Error("it takes too long to load")), PLAYABLE_MS);
    const finish = () => {
      clearTimeout(late);
      done();
    };
    film.onerror = () => {
      clearTimeout(late);
      failed(new Error(film.error?.message || "it is of a kind that it doesn't know"));
    };
    film.requestVideoFrameCallback?.(finish);
    film.oncanplay = () => setTimeout(finish, FRAME_MS);
  });
}

/**
 * Places for clips side by side, one of them chosen. A record is {blob, order}: the media, and
 * what it was made of (api.js), so that downloads are of the clip shown.
 */
export class Clips {
  #list;
  #slots = [];
  #isMoving;
  #onChange;

  /**
   * @param {Element} list gets an item for each place.
   * @param {object} options
   * @param {boolean} options.isMoving whether clips play by themselves.
   * @param {() => void} options.onChange another clip is chosen or shown, or they play or pause.
   */
  constructor(list, { isMoving, onChange }) {
    this.#list = list;
    this.#isMoving = isMoving;
    this.#onChange = onChange;
    this.setCount(1);
  }

  /** Whether clips play. */
  get isMoving() {
    return this.#isMoving;
  }

  /** Whether there is anything to play. */
  get hasFilms() {
    return this.#slots.some((slot) => slot.media instanceof HTMLVideoElement);
  }

  /** The record of the chosen clip; null while there is none. */
  get chosen() {
    return this.#slots.find((slot) => slot.choice.checked)?.record ?? null;
  }

  /** Makes or takes away places, the last ones first. */
  setCount(count) {
    while (this.#slots.length > count) this.#drop(this.#slots.pop());
    while (this.#slots.length < count) this.#slots.push(this.#add(this.#slots.length));
    this.#list.dataset.count = count;
    if (!this.#slots.some((slot) => slot.choice.checked)) this.#slots[0].choice.checked = true;
    this.#onChange();
  }

  #add(index) {
    const screen = make("div", { className: "screen" });
    const choice = make("input", { type: "radio", name: "chosen-clip", value: index,
      onchange: this.#onChange });
    const word = make("span", { textContent: `Variation ${index + 1}` });
    const title = "Downloads are of the chosen one";
    const item = make("li", { className: "clip" }, screen,
      make("label", { className: "choice", title }, choice, word));
    screen.onclick = () => choice.click();
    this.#list.append(item);
    return { item, screen, choice, media: null, record: null, isGone: false };
  }

  #drop(slot) {
    slot.isGone = true;
    if (slot.media) discard(slot.media);
    slot.item.remove();
  }

  /**
   * Shows a record in place `index`; the clip before it goes when this one has a frame to show.
   * Rejects when the browser can't show it.
   */
  async show(index, record) {
    const slot = this.#slots[index];
    if (!slot) return;
    const media = this.#mediaOf(record);
    try {
      // Over the old one, which is seen through it until it is painted: what lies beneath another
      // isn't painted at all, and would leave a hole for some frames when that one goes.
      if (media instanceof HTMLVideoElement) {
        const painted = paints(media);
        slot.screen.append(media);
        await painted;
      } else {
        await media.decode();
        slot.screen.append(media);
      }
    } catch (error) {
      discard(media);
      throw new Error(`This browser can't show the clip: ${error.message}.`, { cause: error });
    }
    if (slot.isGone) return discard(media);
    if (slot.media) setTimeout(discard, OLD_MS, slot.media);
    Object.assign(slot, { media, record });
    this.#move(slot);
    this.#onChange();
  }

  #mediaOf({ blob, order }) {
    const src = URL.createObjectURL(blob);
    const name = `Variation ${order.variation + 1}, seed ${order.seed}`;
    if (!blob.type.startsWith("video/")) return make("img", { src, alt: name });
    const film = make("video", { src, loop: true, muted: true, playsInline: true,
      preload: "auto", autoplay: this.#isMoving });
    film.setAttribute("aria-label", name);
    return film;
  }

  /** Plays or pauses all clips, and those to come. */
  setMoving(isMoving) {
    this.#isMoving = isMoving;
    for (const slot of this.#slots) this.#move(slot);
    this.#onChange();
  }

  #move({ media }) {
    if (!(media instanceof HTMLVideoElement)) return;
    if (!this.#isMoving) return media.pause();
    media.play().catch((error) => {
      // Refused by the browser's settings: the button says "Play" then. Others were exchanged.
      if (error.name === "NotAllowedError") this.setMoving(false);
    });
  }
}
