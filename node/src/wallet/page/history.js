// History, as the directory's log has it; what is not known yet stands on top.
import { $, amount, chip, el, list, message, put, when } from "./dom.js";
import { look } from "./node.js";

let limit = 50;
let turn = 0;

export const show = () => {
  limit = 50;
  return refresh();
};

export const refresh = async () => {
  turn += 1;
  const mine = turn;
  const search = $("history-search").value.trim();
  const told = await look(`api/history?limit=${limit}&search=${encodeURIComponent(search)}`);
  // An older question may be answered later.
  if (mine !== turn) return;
  if (!told.ok) return put($("history-state"), message(told.message));
  const { items, more } = told;
  list($("history-lines"), items, row);
  $("history-table").hidden = items.length === 0;
  $("history-state").textContent = items.length ? (search ? `${items.length}${more ? " of more" : ""} found` : "")
    : search ? "Nothing found" : "Nothing has happened yet";
  $("history-more").hidden = !more && items.length < limit;
};

const kinds = {
  issue: "issued to you", burn: "burnt", hold: "held for a tab", claim: "claimed from a tab", release: "back from a tab",
};

// What a tab pays has left the balance with its hold.
const isFromHold = (line) => line.kind === "claim" && line.direction === "out";
const sign = (line) => isFromHold(line) ? "" : line.direction === "in" ? "+" : "−";

const row = (line) => el("tr", {},
  el("td", { class: "when" }, line.entry === null ? chip("unknown") : when(line.time)),
  el("td", { class: "who" }, line.counterparty),
  el("td", { class: "why" }, line.memo || (isFromHold(line) ? "paid from what a tab held" : kinds[line.kind]) || ""),
  el("td", { class: `how ${line.direction}` }, sign(line), amount(line.amount, line.currency)),
  el("td", {}, line.entry !== null && el("a", { href: `#/receipt/${line.entry}`, "aria-label": `Receipt of entry ${line.entry}` }, `${line.entry}`)));

let waiting = null;
$("history-search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(show, 200);
});
$("history-form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  show();
});
$("history-more").addEventListener("click", () => {
  limit *= 2;
  refresh();
});
