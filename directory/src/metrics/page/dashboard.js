// Keeps the dashboard live: asks for the numbers every two seconds, writes them where the page has
// their names, and draws the last quarter of an hour. Text is only ever set as text.
"use strict";

const ASK_EVERY = 2000;
const ASK_DEADLINE = 5000;
const SVG = "http://www.w3.org/2000/svg";

// What each chart shows of a sample: [number, payments, half, most, online, queue, refusals].
const CHARTS = {
  payments: { lines: [1], names: ["payments a second"], area: true },
  latency: { lines: [2, 3], names: ["ms for half", "ms for 99 in 100"] },
  online: { lines: [4], names: ["nodes online"], area: true, whole: true },
  queue: { lines: [5, 6], names: ["waiting", "refused a second"] },
};

let began = null;
let every = 2;
let kept = 450;
// Samples across a chart: as many minutes as are known, of 1, 3, 7.5 and 15.
let across = 30;
let samples = [];
let answeredAt = null;
const charts = [];

const byId = (id) => document.getElementById(id);

function make(name, attributes, parent, inSvg) {
  const made = inSvg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const written = (number) =>
  number === null ? "–" : number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 }).replaceAll(",", "\u202f");

// The next of 1, 2, 5, 10, 20 and so on, so that the scale stands still while numbers move.
function ceiling(number, whole) {
  const least = whole ? 4 : 1;
  if (number <= least) return least;
  const ten = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((times) => times * ten).find((bound) => bound >= number);
}

const minutes = () => `${(across * every) / 60} min`;

function ago(seconds) {
  if (seconds < 1) return "now";
  const minutes = Math.floor(seconds / 60);
  const rest = Math.round(seconds % 60);
  return minutes === 0 ? `${rest} s ago` : `${minutes} min ${rest} s ago`;
}

function buildChart(figure) {
  const spec = CHARTS[figure.dataset.chart];
  const plot = make("div", { class: "plot" }, figure);
  const svg = make("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", tabindex: "0" }, plot, true);
  for (const y of [0, 50, 100]) make("line", { class: "grid", x1: 0, x2: 100, y1: y, y2: y }, svg, true);
  const area = spec.area ? make("path", { class: "area" }, svg, true) : null;
  const lines = spec.lines.map((_, at) => make("path", { class: `l${at + 1}` }, svg, true));
  const cursor = make("line", { class: "cursor", y1: 0, y2: 100, x1: -1, x2: -1 }, svg, true);
  cursor.setAttribute("visibility", "hidden");
  const high = make("span", { class: "high", "aria-hidden": "true" }, plot);
  const times = make("p", { class: "times", "aria-live": "off" }, figure);
  const chart = { spec, svg, area, lines, cursor, high, times, title: figure.querySelector("figcaption").firstChild.textContent.trim(), at: null };
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    chart.at = Math.round(((event.clientX - box.left) / box.width) * (across - 1)) - (across - 1);
    chart.at = Math.max(1 - across, Math.min(0, chart.at));
    drawCursor(chart);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  const leave = () => { chart.at = null; drawCursor(chart); };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15 }[event.key];
    const end = { Home: 1 - across, End: 0 }[event.key];
    if (step === undefined && end === undefined) return;
    event.preventDefault();
    chart.at = Math.max(1 - across, Math.min(0, end ?? (chart.at ?? 0) + step));
    times.setAttribute("aria-live", "polite");
    drawCursor(chart);
  });
  charts.push(chart);
}

// The newest sample stands at the right edge; where there is none yet, the chart is empty.
const xOf = (sample) => 100 - ((samples.at(-1)[0] - sample[0]) / (across - 1)) * 100;

function drawChart(chart) {
  const { spec } = chart;
  const values = samples.flatMap((sample) => spec.lines.map((at) => sample[at] ?? 0));
  const most = Math.max(0, ...values);
  const top = ceiling(most, spec.whole);
  spec.lines.forEach((at, line) => {
    let path = "";
    let drawing = false;
    for (const sample of samples) {
      const value = sample[at];
      if (value === null) { drawing = false; continue; }
      const spot = `${xOf(sample).toFixed(2)} ${(100 - (value / top) * 100).toFixed(2)}`;
      // A lone sample is a dot.
      path += drawing ? `L${spot}` : `M${spot}l0 0`;
      drawing = true;
    }
    chart.lines[line].setAttribute("d", path);
    if (chart.area && line === 0 && path) {
      chart.area.setAttribute("d", `${path.replace("l0 0", "")}L100 100L${xOf(samples[0]).toFixed(2)} 100Z`);
    }
  });
  say(chart.high, written(top));
  const last = samples.at(-1);
  const now = spec.lines.map((at, line) => `${written(last ? last[at] : null)} ${spec.names[line]}`).join(", ");
  chart.svg.setAttribute("aria-label", `${chart.title}, the last ${minutes()}. Now: ${now}. Highest: ${written(most)}. Arrow keys read it back.`);
  drawCursor(chart);
}

function drawCursor(chart) {
  const { spec, at, times, cursor } = chart;
  if (at === null || samples.length === 0) {
    cursor.setAttribute("visibility", "hidden");
    times.setAttribute("aria-live", "off");
    times.replaceChildren();
    for (const text of [`${minutes()} ago`, "now"]) say(make("span", {}, times), text);
    return;
  }
  const number = samples.at(-1)[0] + at;
  const sample = samples.find((one) => one[0] === number);
  const x = 100 + (at / (across - 1)) * 100;
  cursor.setAttribute("visibility", "visible");
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  const what = sample
    ? spec.lines.map((line, index) => `${written(sample[line])} ${spec.names[index]}`).join(", ")
    : "nothing known";
  times.replaceChildren();
  say(make("span", {}, times), `${ago(-at * every)}: ${what}`);
}

function drawRows(place, rows) {
  place.replaceChildren();
  if (rows.length === 0) {
    say(make("p", { class: "small" }, place), "None since the start.");
    return;
  }
  const table = make("table", { class: "rows" }, place);
  const head = make("tr", {}, make("thead", {}, table));
  for (const title of ["", "last quarter hour", "since the start"]) say(make("th", { scope: "col" }, head), title);
  const body = make("tbody", {}, table);
  for (const [name, all, lately] of rows) {
    const row = make("tr", {}, body);
    say(make("th", { scope: "row" }, row), name.replaceAll("_", " "));
    say(make("td", {}, row), written(lately));
    say(make("td", {}, row), written(all));
  }
}

function show(numbers) {
  if (numbers.began !== began) {
    // Another process: its samples are counted anew.
    began = numbers.began;
    samples = [];
  }
  ({ every, kept } = numbers);
  const newest = samples.length ? samples.at(-1)[0] : 0;
  samples.push(...numbers.samples.filter((sample) => sample[0] > newest));
  samples = samples.filter((sample) => sample[0] > samples.at(-1)[0] - kept);
  across = [kept / 15, kept / 5, kept / 2].find((some) => some >= samples.length) ?? kept;
  for (const element of document.querySelectorAll("[data-n]")) {
    const text = numbers.shown[element.dataset.n];
    say(element, text ?? "–");
  }
  byId("state").dataset.state = numbers.state;
  byId("agree").dataset.agree = numbers.agree === null ? "" : numbers.agree ? "yes" : "no";
  drawRows(byId("refused"), numbers.refused);
  drawRows(byId("shed"), numbers.shed);
  charts.forEach(drawChart);
}

function found() {
  answeredAt = new Date();
  byId("lost").hidden = true;
  document.body.classList.remove("stale");
}

function lost() {
  const how = answeredAt ? `has not answered since ${answeredAt.toLocaleTimeString()}` : "does not answer";
  say(byId("lost"), `The directory ${how}. What is below is from then. It is asked again every two seconds.`);
  byId("lost").hidden = false;
  say(byId("state"), "Lost");
  byId("state").dataset.state = "lost";
  document.body.classList.add("stale");
}

async function ask() {
  const after = samples.length ? samples.at(-1)[0] : 0;
  const path = began === null ? "numbers.json" : `numbers.json?began=${began}&after=${after}`;
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ASK_DEADLINE) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function live() {
  for (;;) {
    try {
      const numbers = await ask();
      found();
      show(numbers);
    } catch (error) {
      console.warn("no numbers:", error);
      lost();
    }
    await new Promise((done) => setTimeout(done, ASK_EVERY));
  }
}

byId("charts").hidden = false;
for (const element of document.querySelectorAll(".text")) element.hidden = true;
document.querySelectorAll("[data-chart]").forEach(buildChart);
live();
