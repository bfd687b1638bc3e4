"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = document.querySelector("svg")?.namespaceURI;
const COLOURS = 7, DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const BOX = { left: 46, right: 8, top: 8, bottom: 22, height: 210 };
const hidden = new Set();
let charts = [], cursor = null;

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function draw(tag, attributes, parent) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}

function number(value) {
  if (typeof value === "string") return value;
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3))
    return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

// Films.

const films = [...document.querySelectorAll("video")];

function isPaused() {
  return films.every((film) => film.paused);
}

function play() {
  // The browser may refuse to play by itself; the button does it then.
  for (const film of films) film.play().catch(() => {}).finally(tellPaused);
}

function pause() {
  if (isPaused()) play();
  else for (const film of films) film.pause();
  tellPaused();
}

function tellPaused() {
  $("pause").textContent = isPaused() ? "play" : "pause";
}

function restart() {
  for (const film of films) film.currentTime = 0;
}

function setUpFilms() {
  $("size").value = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--cell"));
  $("size").oninput = () =>
    document.documentElement.style.setProperty("--cell", `${$("size").value}px`);
  for (const id of ["pause", "restart"]) $(id).hidden = !films.length;
  $("speed").parentElement.style.display = films.length ? "" : "none";
  if (!films.length) return;
  $("pause").onclick = pause;
  $("restart").onclick = () => {
    restart();
    play();
  };
  $("speed").oninput = () => {
    for (const film of films) film.playbackRate = Number($("speed").value);
    restart();
  };
  for (const film of films) film.onplay = film.onpause = tellPaused;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const film of films) {
      film.autoplay = false;
      film.pause();
    }
  } else {
    // All begin at once when all are there.
    const ready = films.map((film) => film.readyState >= 3 ? Promise.resolve()
      : new Promise((done) => film.addEventListener("canplay", done, { once: true })));
    Promise.all(ready).then(() => {
      restart();
      play();
    });
  }
  tellPaused();
}

document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey || !films.length) return;
  if (event.target.closest("button, select, input, summary, a")) return;
  event.preventDefault();
  pause();
});

// Curves.

function colour(run) {
  return `var(--run-${run % COLOURS})`;
}

function stroke(run) {
  return { stroke: colour(run), "stroke-dasharray": DASHES[Math.floor(run / COLOURS) % 4] };
}

function swatch(run) {
  const box = draw("svg", { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" });
  draw("line", { x1: 0, y1: 5, x2: 26, y2: 5, "stroke-width": 3, ...stroke(run) }, box);
  return box;
}

function xOf(curve, i) {
  const scale = $("axis").value === "examples" ? data.runs[curve.run].batch : 1;
  return curve.steps[i] * scale;
}

// A mean over what came before, weighted by how long ago; what is no number is passed over.
function smooth(values, weight) {
  let sum = 0, all = 0;
  return values.map((value) => {
    if (typeof value === "string") return value;
    sum = weight * sum + (1 - weight) * value;
    all = weight * all + (1 - weight);
    return sum / all;
  });
}

function isShown(value) {
  return typeof value === "number" && (!$("log").checked || value > 0);
}

// A scale for all values, but for a hundredth of spikes that would flatten the rest.
function range(values) {
  if (!values.length) return [0, 1];
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  let [low, high] = [sorted[0], sorted[sorted.length - 1]];
  const usual = at(0.99) - at(0.01);
  if (high - at(0.99) > 2 * usual && usual > 0) high = at(0.99) + usual / 2;
  if (at(0.01) - low > 2 * usual && usual > 0) low = at(0.01) - usual / 2;
  const margin = 0.04 * (high - low) || Math.abs(high) * 0.1 || 1;
  return [low - margin, high + margin];
}

function ticks(low, high, most) {
  const rough = (high - low) / most, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * ten).find((s) => s >= rough) ?? 10 * ten;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

// Between powers of ten given by their logarithms: powers, and within few of them 2 and 5, too.
function logTicks(low, high) {
  const every = Math.max(1, Math.round((high - low) / 4)), found = [];
  for (let power = Math.floor(low); power <= high; power += every)
    for (const k of high - low < 2 ? [1, 2, 5] : [1]) found.push(k * 10 ** power);
  const inside = found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
  return inside.length ? inside : [10 ** ((low + high) / 2)];
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return size && size < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4)));
}

function setUpCurves() {
  if (!data.charts.length) return;
  for (const [run, { name }] of data.runs.entries()) {
    const button = make("button", { type: "button" }, swatch(run),
      make("span", { textContent: name }));
    button.setAttribute("aria-pressed", "true");
    button.onclick = () => {
      if (!hidden.delete(run)) hidden.add(run);
      button.setAttribute("aria-pressed", String(!hidden.has(run)));
      redraw();
    };
    $("legend").append(make("li", {}, button));
  }
  charts = data.charts.map((chart, place) => {
    const svg = $(`chart-${place}`);
    const drawn = { ...chart, svg, readout: $(`readout-${place}`), beyond: $(`beyond-${place}`) };
    svg.addEventListener("pointermove", (event) => point(drawn, event));
    svg.addEventListener("pointerdown", (event) => point(drawn, event));
    svg.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") setCursor(null);
    });
    svg.addEventListener("keydown", (event) => step(drawn, event));
    svg.addEventListener("focus", () => drawn.readout.setAttribute("aria-live", "polite"));
    svg.addEventListener("blur", () => drawn.readout.removeAttribute("aria-live"));
    return drawn;
  });
  for (const id of ["axis", "log", "smoothing"]) $(id).oninput = () => {
    if (id === "axis") cursor = null;
    redraw();
  };
  const seen = new ResizeObserver((entries) => {
    for (const { target } of entries) redraw(charts.filter(({ svg }) => svg === target));
  });
  for (const { svg } of charts) seen.observe(svg);
}

function redraw(some = charts) {
  $("smoothing-value").textContent = $("smoothing").value;
  for (const chart of some) if (chart.svg.clientWidth) drawChart(chart);
}

function drawChart(chart) {
  const width = chart.svg.clientWidth, log = $("log").checked;
  const weight = Number($("smoothing").value);
  const curves = chart.curves.filter(({ run }) => !hidden.has(run))
    .map((curve) => ({ ...curve, x: curve.steps.map((_, i) => xOf(curve, i)),
      smooth: weight ? smooth(curve.values, weight) : curve.values }));
  const y = (value) => log ? Math.log10(value) : value;
  const shown = curves.flatMap((curve) => curve.values.filter(isShown));
  const [low, high] = range(shown.map(y));
  const xs = curves.flatMap((curve) => curve.x);
  const first = xs.reduce((a, b) => Math.min(a, b), Infinity);
  const last = xs.reduce((a, b) => Math.max(a, b), -Infinity);
  const span = last > first ? last - first : 1;
  const plotted = width - BOX.left - BOX.right, tall = BOX.height - BOX.top - BOX.bottom;
  const px = (x) => BOX.left + (last > first ? (x - first) / span : 0.5) * plotted;
  const py = (value) => BOX.top + (1 - (y(value) - low) / (high - low)) * tall;
  Object.assign(chart, { now: curves, px, first, span, plotted });
  chart.svg.setAttribute("viewBox", `0 0 ${width} ${BOX.height}`);
  chart.svg.replaceChildren();
  drawAxes(chart.svg, { low, high, first, last, width, log, px, py });
  const clip = draw("clipPath", { id: `${chart.svg.id}-clip` }, chart.svg);
  draw("rect", { x: BOX.left - 5, y: BOX.top - 5, width: plotted + 10, height: tall + 10 }, clip);
  const lines = draw("g", { "clip-path": `url(#${clip.id})` }, chart.svg);
  for (const curve of curves) {
    if (weight) line(lines, curve, curve.values, px, py, { class: "faint" });
    line(lines, curve, curve.smooth, px, py, {});
    oddMarks(lines, curve, px);
  }
  tellBeyond(chart, shown, low, high, log);
  chart.cursorLine = draw("line", { class: "cursor", y1: BOX.top, y2: BOX.height - BOX.bottom,
    visibility: "hidden" }, chart.svg);
  chart.dots = draw("g", {}, chart.svg);
  chart.py = py;
  read(chart);
}

function drawAxes(svg, { low, high, first, last, width, log, px, py }) {
  for (const value of log ? logTicks(low, high) : ticks(low, high, 4)) {
    draw("line", { class: "grid", x1: BOX.left, x2: width - BOX.right, y1: py(value),
      y2: py(value) }, svg);
    draw("text", { x: BOX.left - 5, y: py(value) + 4, "text-anchor": "end" }, svg)
      .textContent = short(value);
  }
  if (!Number.isFinite(first)) return;
  const along = last > first ? ticks(first, last, Math.max(2, Math.floor(width / 80))) : [first];
  for (const value of along.filter(Number.isInteger))
    draw("text", { x: px(value), y: BOX.height - 6, "text-anchor":
      px(value) > width - 30 ? "end" : "middle" }, svg).textContent = short(value);
}

function line(parent, curve, values, px, py, more) {
  let path = "", pen = "M", alone = 0;
  values.forEach((value, i) => {
    if (!isShown(value)) {
      pen = "M";
      return;
    }
    path += `${pen}${px(curve.x[i]).toFixed(1)} ${py(value).toFixed(1)}`;
    pen = "L";
    alone = i;
  });
  if (!path) return;
  draw("path", { d: path, ...stroke(curve.run), ...more }, parent);
  if (values.filter(isShown).length === 1)
    draw("circle", { cx: px(curve.x[alone]), cy: py(values[alone]), r: 3.5,
      fill: colour(curve.run) }, parent);
}

// Crosses where a value is no number, at the lower edge.
function oddMarks(parent, curve, px) {
  curve.values.forEach((value, i) => {
    if (typeof value !== "string") return;
    const x = px(curve.x[i]), y = BOX.height - BOX.bottom - 5;
    draw("path", { d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}`,
      stroke: colour(curve.run) }, parent);
  });
}

function tellBeyond(chart, shown, low, high, log) {
  const y = (value) => log ? Math.log10(value) : value;
  const said = [];
  const most = shown.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = shown.reduce((a, b) => Math.min(a, b), Infinity);
  if (shown.length && y(most) > high) said.push(`spikes to ${number(most)} ↑`);
  if (shown.length && y(least) < low) said.push(`spikes to ${number(least)} ↓`);
  const all = chart.now.flatMap((curve) => curve.values);
  const odd = all.filter((value) => typeof value === "string").length;
  if (odd) said.push(`× ${odd} not finite`);
  const rest = all.length - odd - shown.length;
  if (rest) said.push(`${rest} of 0 and below, which a log scale can't show`);
  chart.beyond.textContent = said.join("; ");
}

function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}

// All charts are read at one place.
function setCursor(x) {
  cursor = x;
  for (const chart of charts) if (chart.now) read(chart);
}

function read(chart) {
  const at = cursor ?? Infinity;
  chart.dots.replaceChildren();
  chart.cursorLine.setAttribute("visibility", "hidden");
  const inside = cursor !== null && cursor >= chart.first && cursor <= chart.first + chart.span;
  if (inside) {
    for (const side of ["x1", "x2"]) chart.cursorLine.setAttribute(side, chart.px(cursor));
    chart.cursorLine.setAttribute("visibility", "visible");
  }
  const unit = $("axis").value === "examples" ? "examples" : "step";
  const head = cursor === null ? "last" : `${unit} ${cursor.toLocaleString("en")}`;
  const said = chart.now.filter((curve) => curve.x.length).map((curve) => {
    const i = cursor === null ? curve.x.length - 1 : nearest(curve.x, at);
    const beyond = cursor !== null && (at < curve.x[0] || at > curve.x[curve.x.length - 1]);
    if (inside && !beyond && isShown(curve.smooth[i]))
      draw("circle", { cx: chart.px(curve.x[i]), cy: chart.py(curve.smooth[i]), r: 3.5,
        fill: colour(curve.run) }, chart.dots);
    const where = !beyond && cursor !== null && curve.x[i] !== cursor
      ? ` at ${curve.x[i].toLocaleString("en")}` : "";
    return make("span", {}, swatch(curve.run),
      `${data.runs[curve.run].name} ${beyond ? "–" : number(curve.smooth[i])}${where}`);
  });
  chart.readout.replaceChildren(make("span", { textContent: `${head}:` }), ...said);
}

function steps(chart) {
  return [...new Set(chart.now.flatMap((curve) => curve.x))].sort((a, b) => a - b);
}

function point(chart, event) {
  if (!chart.now?.length) return;
  const left = event.clientX - chart.svg.getBoundingClientRect().left;
  const x = chart.first + (left - BOX.left) / chart.plotted * chart.span;
  const all = steps(chart);
  if (all.length) setCursor(all[nearest(all, x)]);
}

function step(chart, event) {
  const all = chart.now ? steps(chart) : [];
  if (!all.length) return;
  const now = cursor === null ? all.length : nearest(all, cursor);
  const page = Math.max(1, Math.round(all.length / 10));
  const to = { ArrowLeft: now - 1, ArrowRight: now + 1, PageDown: now + page, PageUp: now - page,
    Home: 0, End: all.length - 1 }[event.key];
  if (event.key === "Escape") setCursor(null);
  else if (to === undefined) return;
  else setCursor(all[Math.min(Math.max(to, 0), all.length - 1)]);
  event.preventDefault();
}

setUpFilms();
setUpCurves();
