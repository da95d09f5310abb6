// The balance over time, drawn by hand: the node counts, this draws.
import { $, amount, el, put, svg, when } from "./dom.js";
import { look } from "./node.js";

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
    el("span", {}, when(first.time)),
    el("span", {}, "at most ", amount(most, currency)),
    el("span", {}, when(last.time)),
  );
};
