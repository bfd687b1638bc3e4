"""What runs in the page: files given to it, and what the eye and the finger need of it."""

from pathlib import Path

CONTRAST = Path(__file__).with_name("contrast.js").read_text()

# Colours that change gradually have arrived.
SETTLED = "() => !document.getAnimations().some((one) => one instanceof CSSTransition)"
STILL = "() => !document.getAnimations().some(({ playState }) => playState === 'running')"

# Left, top, width and height of the map in the canvas, CSS pixels: what is drawn in the row and in
# the column through its middle. Read from a copy: the page's own context isn't made for reading.
DRAWN = """(canvas) => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const ends = (x, y, w, h) => {
    const { data } = copy.getImageData(x, y, w, h);
    const drawn = Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + 3] > 0);
    return [drawn.indexOf(true), drawn.lastIndexOf(true) + 1];
  };
  const [left, right] = ends(0, height >> 1, width, 1);
  const [top, bottom] = ends(width >> 1, 0, 1, height);
  const ratio = width / canvas.getBoundingClientRect().width;
  return [left, top, right - left, bottom - top].map((length) => length / ratio);
}"""

# A PNG dropped on the canvas, or pasted there.
GIVE = """(canvas, [kind, name, bytes]) => {
  const file = new File([new Uint8Array(bytes)], name, { type: 'image/png' });
  const transfer = new DataTransfer();
  transfer.items.add(file);
  const settings = { bubbles: true, cancelable: true };
  if (kind === 'paste') {
    canvas.dispatchEvent(new ClipboardEvent(kind, { ...settings, clipboardData: transfer }));
    return;
  }
  for (const type of ['dragenter', 'dragover', 'drop'])
    canvas.dispatchEvent(new DragEvent(type, { ...settings, dataTransfer: transfer }));
}"""

# What a control draws around itself, or what its label draws for it where it is not seen itself.
FOCUS = """() => {
  const focused = document.activeElement;
  const shows = (e) => {
    const style = getComputedStyle(e);
    return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1)
      || style.boxShadow !== 'none';
  };
  const places = [focused, ...(focused.labels ?? []), ...(focused.labels?.[0]?.children ?? [])];
  const name = focused.id || focused.dataset.tool || focused.dataset.label || focused.name;
  return [`${focused.localName} ${name ?? focused.textContent.trim()}`, places.some(shows)];
}"""

# Controls whose box, and whose label's, is too small for a finger.
SMALL_TARGETS = """(least) => {
  const small = [];
  for (const e of document.querySelectorAll('button, input, select, a[href], summary')) {
    const places = [e, ...(e.labels ?? [])].map((place) => place.getBoundingClientRect());
    if (!e.checkVisibility() || places[0].width * places[0].height === 0) continue;
    const fits = places.some((box) => box.width >= least && box.height >= least);
    if (!fits) small.push(`${e.localName} ${e.id || e.textContent.trim()}`);
  }
  return small;
}"""

# Texts that lie over each other, as pairs; a line's box may touch the next one's.
OVERLAPS = """() => {
  const SLACK = 4;
  const isForReadersOnly = (e) => Math.min(e.clientWidth || 2, e.clientHeight || 2) <= 1;
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, around = node.parentElement;
    if (!node.data.trim() || around.closest('select, script, style, dialog:not([open])')) continue;
    if (!around.checkVisibility() || isForReadersOnly(around)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) boxes.push([node.data.trim().slice(0, 40), box]);
  }
  const over = [];
  boxes.forEach(([text, a], i) => {
    for (const [other, b] of boxes.slice(i + 1)) {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > SLACK && down > SLACK) over.push(`${text} / ${other}`);
    }
  });
  return over;
}"""
