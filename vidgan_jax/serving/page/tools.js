// What the tools do to a map: arithmetic on label ids, without the page.
//
// A map is a Uint8Array of size² ids, row after row. Every function that draws returns the
// rectangle {x, y, width, height} that it may have changed, in pixels, or null for none.

/** The rectangle that holds both; either may be null. */
export function union(a, b) {
  if (!a || !b) return a ?? b;
  const x = Math.min(a.x, b.x), y = Math.min(a.y, b.y);
  return {
    x, y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  };
}

const discs = new Map();

/**
 * The rows of a disc of a whole diameter: for each row the half-open span [first, end) of the
 * pixels whose centres lie in the circle, counted from the disc's left upper corner.
 */
export function discRows(diameter) {
  if (!discs.has(diameter)) {
    const radius = diameter / 2;
    discs.set(diameter, Array.from({ length: diameter }, (_, row) => {
      const up = row + 0.5 - radius;
      const half = Math.sqrt(radius * radius - up * up);
      return [Math.ceil(radius - half - 0.5), Math.floor(radius + half - 0.5) + 1];
    }));
  }
  return discs.get(diameter);
}

/**
 * The left upper corner of the disc whose centre is nearest to a point.
 *
 * Odd discs have their centre in the middle of a pixel, even ones on a corner of pixels.
 */
export function discCorner(point, diameter) {
  return { x: Math.round(point.x - diameter / 2), y: Math.round(point.y - diameter / 2) };
}

/** Draws a disc whose left upper corner is given. */
export function stamp(ids, size, corner, diameter, label) {
  discRows(diameter).forEach(([first, end], row) => {
    const y = corner.y + row;
    if (y < 0 || y >= size) return;
    const from = Math.max(0, corner.x + first), to = Math.min(size, corner.x + end);
    if (from < to) ids.fill(label, y * size + from, y * size + to);
  });
  return clipped(corner, diameter, size);
}

function clipped(corner, diameter, size) {
  const x = Math.max(0, corner.x), y = Math.max(0, corner.y);
  const width = Math.min(size, corner.x + diameter) - x;
  const height = Math.min(size, corner.y + diameter) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : null;
}

/** Pixels of the straight line between two pixels, both ends among them (Bresenham 1965). */
export function* linePixels(from, to) {
  const across = Math.abs(to.x - from.x), down = Math.abs(to.y - from.y);
  const stepX = Math.sign(to.x - from.x), stepY = Math.sign(to.y - from.y);
  let { x, y } = from, error = across - down;
  while (true) {
    yield { x, y };
    if (x === to.x && y === to.y) return;
    const twice = 2 * error;
    if (twice > -down) { error -= down; x += stepX; }
    if (twice < across) { error += across; y += stepY; }
  }
}

/** Draws the way of a disc between two points (in pixels, fractions allowed), without gaps. */
export function drawLine(ids, size, from, to, diameter, label) {
  let changed = null;
  const first = discCorner(from, diameter), last = discCorner(to, diameter);
  const [begin, end] = cut(first, last, size, diameter) ?? [];
  if (!begin) return null;
  for (const corner of linePixels(begin, end))
    changed = union(changed, stamp(ids, size, corner, diameter, label));
  return changed;
}

// A view zoomed far out lets a line begin a long way from the map; only what can touch it is drawn.
function cut(first, last, size, diameter) {
  const low = -diameter, high = size;
  const inside = ({ x, y }) => x >= low && x <= high && y >= low && y <= high;
  if (inside(first) && inside(last)) return [first, last];
  const way = { x: last.x - first.x, y: last.y - first.y };
  let from = 0, to = 1;
  for (const axis of ["x", "y"]) {
    if (way[axis] === 0) {
      if (first[axis] < low || first[axis] > high) return null;
      continue;
    }
    const ends = [(low - first[axis]) / way[axis], (high - first[axis]) / way[axis]];
    from = Math.max(from, Math.min(...ends));
    to = Math.min(to, Math.max(...ends));
  }
  if (from > to) return null;
  const at = (share) => ({
    x: Math.round(first.x + share * way.x), y: Math.round(first.y + share * way.y) });
  return [at(from), at(to)];
}

/** The end of a line turned to the nearest multiple of 45 degrees. */
export function straightened(from, to) {
  const eighth = Math.PI / 4;
  const angle = Math.round(Math.atan2(to.y - from.y, to.x - from.x) / eighth) * eighth;
  const along = (to.x - from.x) * Math.cos(angle) + (to.y - from.y) * Math.sin(angle);
  return { x: from.x + along * Math.cos(angle), y: from.y + along * Math.sin(angle) };
}

/**
 * Fills what hangs together, across edges of pixels, with the pixel's label; by whole spans of
 * rows, so that each pixel is looked at a few times at most (Smith 1979, "Tint fill").
 */
export function fill(ids, size, x, y, label) {
  const old = ids[y * size + x];
  if (old === label) return null;
  let left = x, right = x, top = y, bottom = y;
  const seeds = [[x, y]];
  while (seeds.length) {
    const [column, row] = seeds.pop();
    const start = row * size;
    if (ids[start + column] !== old) continue;
    let first = column, end = column + 1;
    while (first > 0 && ids[start + first - 1] === old) first--;
    while (end < size && ids[start + end] === old) end++;
    ids.fill(label, start + first, start + end);
    left = Math.min(left, first);
    right = Math.max(right, end - 1);
    top = Math.min(top, row);
    bottom = Math.max(bottom, row);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= size) continue;
      for (let i = first; i < end; i++) {
        const at = next * size + i;
        // One seed for each run of the old label.
        if (ids[at] === old && (i === first || ids[at - 1] !== old)) seeds.push([i, next]);
      }
    }
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}
