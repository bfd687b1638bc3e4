"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const classes = new Map(data.classes.map((c) => [String(c.id), c]));
const hasMaps = data.clips.some((clip) => clip.map);
const BATCH = 120;
let shown = [], drawn = 0, opened = -1;

function make(tag, fields = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...inside);
  return element;
}

function address(type, base64) {
  return `data:${type};base64,${base64}`;
}

// Films become blobs: browsers take those more readily than long addresses.
const films = new Map();
function filmOf(clip) {
  if (!films.has(clip)) {
    const bytes = Uint8Array.from(atob(clip.film), (character) => character.charCodeAt(0));
    films.set(clip, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
  }
  return films.get(clip);
}

function player(clip) {
  const video = make("video", { src: filmOf(clip), loop: true, muted: true, playsInline: true,
    poster: address("image/jpeg", clip.poster) });
  // The browser may refuse to play by itself; the poster stays then.
  video.play().catch(() => {});
  return video;
}

function mapOf(clip, className) {
  return make("img", { className, alt: "label map", src: address("image/png", clip.map) });
}

function number(value) {
  return String(Number(value.toPrecision(4)));
}

function percent(share) {
  return share > 0 && share < 0.0005 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function options(select, entries) {
  select.append(...entries.map(([value, text]) => make("option", { value, textContent: text })));
}

function setUp() {
  $("name").textContent = data.name;
  const some = data.clips.length < data.total
    ? `${data.clips.length.toLocaleString("en")} of ${data.total.toLocaleString("en")} clips, ` +
      "drawn by lot" : `${data.total.toLocaleString("en")} clips`;
  $("about").textContent = `${some}, of ${data.videos.toLocaleString("en")} videos`;
  options($("split"), [["", "all"], ...data.splits.map((split) => [split, split])]);
  const names = new Set(data.clips.flatMap((clip) => Object.keys(clip.measures)));
  options($("sort"), [["", "by lot"], ["video", "video"], ["frames", "frames"],
    ...[...names].sort().map((name) => [`m:${name}`, name])]);
  const videos = [...new Set(data.clips.map((clip) => clip.video))].sort();
  $("videos").append(...videos.map((value) => make("option", { value })));
  $("size").value = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--cell"));
  $("opacity").value = hasMaps ? 0.35 : 0;
  setOpacity();
  setUpClasses();
  for (const id of ["split", "class", "video", "sort", "order"]) $(id).oninput = draw;
  $("opacity").oninput = setOpacity;
  $("size").oninput = () =>
    document.documentElement.style.setProperty("--cell", `${$("size").value}px`);
}

function setOpacity() {
  document.documentElement.style.setProperty("--opacity", $("opacity").value);
}

// The legend: shares of the whole data set where they are known, else of what is on this page.
function setUpClasses() {
  $("layout").classList.toggle("plain", !hasMaps);
  for (const id of ["legend", "class-control", "opacity-control", "toggle"])
    $(id).hidden = !hasMaps;
  for (const id of ["class-control", "opacity-control"]) $(id).style.display = hasMaps ? "" : "none";
  const whole = Object.keys(data.shares).length > 0;
  const shares = new Map(Object.entries(data.shares));
  if (!whole) {
    const maps = data.clips.filter((clip) => clip.map);
    for (const clip of maps)
      for (const [id, share] of Object.entries(clip.classes))
        shares.set(id, (shares.get(id) ?? 0) + share / maps.length);
  }
  const order = [...shares.keys()].sort((a, b) => shares.get(b) - shares.get(a));
  options($("class"), [["", "all"], ...order.map((id) => [id, classes.get(id).name])]);
  $("legend-of").textContent = `share of the maps' pixels, ${whole ? "whole data set" : "this page"}`;
  $("classes").append(...order.map((id) => {
    const fill = make("i");
    fill.style.width = `${100 * shares.get(id)}%`;
    const button = make("button", { type: "button" }, swatch(id),
      make("span", { textContent: classes.get(id).name }),
      make("span", { className: "soft", textContent: percent(shares.get(id)) }),
      make("span", { className: "bar" }, fill));
    button.dataset.id = id;
    button.onclick = () => {
      $("class").value = $("class").value === id ? "" : id;
      draw();
    };
    return make("li", {}, button);
  }));
  $("legend").open = matchMedia("(min-width: 721px)").matches;
}

function swatch(id) {
  const square = make("span", { className: "swatch" });
  square.style.background = classes.get(id).colour;
  return square;
}

function keyOf(clip) {
  const key = $("sort").value;
  if (key.startsWith("m:")) return clip.measures[key.slice(2)];
  return key ? clip[key] : undefined;
}

function select() {
  const [split, label, video] = ["split", "class", "video"].map((id) => $(id).value);
  const wanted = video.toLowerCase();
  shown = data.clips.filter((clip) => (!split || clip.split === split)
    && (!label || (clip.classes && label in clip.classes))
    && clip.video.toLowerCase().includes(wanted));
  const sign = Number($("order").value);
  if (!$("sort").value) return;
  // Clips without the measure come last, whatever the order.
  shown.sort((one, other) => {
    const [a, b] = [keyOf(one), keyOf(other)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  });
}

function draw() {
  select();
  $("order").disabled = !$("sort").value;
  for (const button of $("classes").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.dataset.id === $("class").value));
  $("found").textContent = shown.length === data.clips.length ? ""
    : `${shown.length} of ${data.clips.length} clips on this page`;
  if (!shown.length) $("found").textContent = "No clip on this page is like that.";
  drawn = 0;
  $("grid").replaceChildren();
  drawMore();
}

function drawMore() {
  $("grid").querySelector(".more")?.remove();
  const batch = shown.slice(drawn, drawn + BATCH);
  $("grid").append(...batch.map((clip, place) => card(clip, drawn + place)));
  drawn += batch.length;
  if (drawn < shown.length) {
    const more = make("button", { className: "more",
      textContent: `show ${Math.min(BATCH, shown.length - drawn)} more` });
    more.onclick = () => {
      const first = drawn;
      drawMore();
      cards()[first]?.focus();
    };
    $("grid").append(more);
  }
}

function card(clip, place) {
  const picture = make("span", { className: "picture" },
    make("img", { alt: "", src: address("image/jpeg", clip.poster) }));
  picture.style.setProperty("--shape", `${clip.width} / ${clip.height}`);
  if (clip.map) picture.append(mapOf(clip, "map"));
  const value = $("sort").value ? keyOf(clip) : undefined;
  const said = typeof value === "number" ? `${$("sort").selectedOptions[0].text} ${number(value)}`
    : clip.split;
  const button = make("button", { className: "card", type: "button", title: clip.id }, picture,
    make("span", { className: "caption" }, make("b", { textContent: clip.video }), said));
  let video = null;
  const play = () => {
    if (video || still) return;
    video = player(clip);
    picture.firstChild.after(video);
  };
  const stop = () => {
    video?.remove();
    video = null;
  };
  button.onpointerenter = button.onfocus = play;
  button.onpointerleave = button.onblur = stop;
  button.onclick = () => open(place);
  return button;
}

function cards() {
  return [...$("grid").querySelectorAll(".card")];
}

function list(title, entries) {
  const terms = entries.flatMap(([name, value, mark]) => [
    make("dt", {}, ...(mark ? [mark] : []), make("span", { textContent: name })),
    make("dd", { textContent: value })]);
  return make("section", {}, make("h3", { textContent: title }), make("dl", {}, ...terms));
}

function open(place) {
  const clip = shown[place];
  if (!clip) return;
  opened = place;
  $("clip-name").textContent = clip.id;
  const film = make("div", { className: "picture" }, player(clip));
  if (clip.map) film.append(mapOf(clip, "map"));
  const parts = [film];
  if (clip.map) parts.push(make("div", { className: "picture" }, mapOf(clip, "alone")));
  for (const part of parts) part.style.setProperty("--shape", `${clip.width} / ${clip.height}`);
  $("pair").replaceChildren(...parts);
  $("pair").classList.toggle("single", !clip.map);
  const seconds = `${number(clip.frames / clip.fps)} s`;
  const facts = [list("clip", [["video", clip.video], ["split", clip.split],
    ["frames", `${clip.frames} at ${clip.fps} frames/s, ${seconds}`],
    ["size", `${clip.width}×${clip.height}`],
    ...(clip.shown < clip.frames ? [["shown", `the first ${clip.shown} frames`]] : [])])];
  const measures = Object.entries(clip.measures);
  if (measures.length)
    facts.push(list("measures", measures.map(([name, value]) => [name, number(value)])));
  if (clip.map) {
    const order = Object.entries(clip.classes).sort((a, b) => b[1] - a[1]);
    facts.push(list("classes", order.map(([id, share]) =>
      [classes.get(id).name, percent(share), swatch(id)])));
  }
  $("facts").replaceChildren(...facts);
  $("previous").disabled = place === 0;
  $("next").disabled = place === shown.length - 1;
  $("pause").textContent = "pause";
  history.replaceState(null, "", `#${encodeURIComponent(clip.id)}`);
  if (!$("viewer").open) $("viewer").showModal();
}

function step(by) {
  if (opened + by < 0 || opened + by >= shown.length) return;
  open(opened + by);
}

function pause() {
  const video = $("pair").querySelector("video");
  if (video.paused) video.play(); else video.pause();
  $("pause").textContent = video.paused ? "play" : "pause";
}

function toggleMap() {
  $("opacity").value = Number($("opacity").value) > 0 ? 0 : 0.5;
  setOpacity();
}

$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("pause").onclick = pause;
$("toggle").onclick = toggleMap;
$("close").onclick = () => $("viewer").close();
$("viewer").onclick = (event) => { if (event.target === $("viewer")) $("viewer").close(); };
$("viewer").onclose = () => {
  $("pair").replaceChildren();
  history.replaceState(null, "", " ");
  while (drawn <= opened) drawMore();
  cards()[opened]?.focus();
};
$("viewer").onkeydown = (event) => {
  const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), m: toggleMap }[event.key];
  const onButton = event.target.tagName === "BUTTON";
  if (act) act();
  else if (event.key === " " && !onButton) pause();
  else return;
  event.preventDefault();
};

// Arrows move over the grid as it is laid out just now.
document.onkeydown = (event) => {
  if ($("viewer").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("video").focus();
    return;
  }
  if (typing || !event.key.startsWith("Arrow")) return;
  const all = cards(), now = all.indexOf(document.activeElement);
  const columns = all.filter((c) => c.offsetTop === all[0].offsetTop).length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const target = now < 0 ? all[0] : all[now + by];
  if (!target) return;
  event.preventDefault();
  target.focus();
  target.scrollIntoView({ block: "nearest" });
};

setUp();
draw();
const asked = decodeURIComponent(location.hash.slice(1));
if (asked) open(shown.findIndex((clip) => clip.id === asked));
