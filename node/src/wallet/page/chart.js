// The balance over time, drawn by hand: the node counts, this draws.
import { $, el, put, svg } from "./dom.js";
import { look } from "./node.js";

/** The time of day, or the day if the other end is not of the same. */
const short = (time, other) => {
  const [one, two] = [new Date(time), new Date(other)];
  const year = one.getFullYear() === two.getFullYear() ? undefined : "numeric";
  const text = one.toDateString() === two.toDateString()
    ? one.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })
    : one.toLocaleDateString(undefined, { year, month: "short", day: "numeric" });
  return el("time", { datetime: time }, text);
};

/** Draws the curve anew. */
export const draw = async () => {
  const told = await look("api/curve");
  if (!told.ok || told.item.points.length < 2) {
    put($("curve"));
    put($("curve-text"));
    return;
  }
  const { points, now, currency, most } = told.item;
  let path = "";
  let before = null;
  for (const { x, y } of points) {
    path += before === null ? `M${x} ${1000 - y}` : `H${x}V${1000 - y}`;
    before = y;
  }
  const first = points[0];
  const last = points[points.length - 1];
  put($("curve"), svg("svg", {
    viewBox: "0 -20 1000 1040", preserveAspectRatio: "none", role: "img",
    "aria-label": `Balance over time: ${first.amount} at first, ${most} at most, ${now} ${currency} now`,
  },
  svg("path", { class: "area", d: `${path}V1000H${first.x}Z` }),
  svg("path", { class: "ground", d: "M0 1000H1000" }),
  svg("path", { class: "line", d: path })));
  put($("curve-text"),
    el("span", {}, short(first.time, last.time)),
    el("span", {}, `at most ${most.includes(".") ? most.replace(/\.?0*$/, "") : most}`),
    el("span", {}, short(last.time, first.time)),
  );
};
