// What became of a wish to open a tab, whether a form or a link wanted it. The node's journal says
// so, whenever it is known: the card follows what the node tells of the tab.
import { amount, el, put } from "./dom.js";
import { on, state } from "./node.js";
import { button, copying, paint, why } from "./outcome.js";
import { end, meters } from "./tabs.js";

const cards = new Map();

/** Shows in `card` how the opening of `item` stands; `again` has the words of a
 * button, and what it does once the end of this is known. */
export const show = (card, how, item, text, again) => {
  cards.set(card, { how, item, again });
  const code = item.currency ?? state.status?.item?.currency;
  const sum = how === "over" ? item.spent : item.hold;
  paint(card, how,
    sum && el("p", {}, amount(sum, code)),
    el("p", {}, said(how, item)),
    how === "refused" && why(text),
    how === "open" && el("ul", { class: "rows" }),
    how === "open" && el("p", { class: "hint" }, "Programs pay on it by this name, and the meter moves: ",
      el("code", {}, item.tab)),
    el("p", { class: "actions" },
      how === "open" && copying("Copy its name", item.tab),
      how !== "asking" && item.tab && again && button(...again)));
  follow();
};

/** Forgets what the card showed. */
export const forget = (card) => {
  cards.delete(card);
  card.hidden = true;
};

const said = (how, item) => {
  const who = item.payee;
  if (how === "asking") return `Opening a tab for ${who}: the directory is being asked.`;
  if (how === "open" && item.earlier) return `You had opened this tab for ${who} already: no other was opened.`;
  if (how === "open") return `The tab for ${who} is open. That much is held for it, and what is not paid comes back.`;
  if (how === "ending") return `The tab for ${who} is closed: the rest is on its way back.`;
  if (how === "over") return `The tab for ${who} is over: ${item.paid} of ${item.units} units were paid, and the rest is back.`;
  if (how === "refused") return `No tab for ${who} is open, and nothing was paid.`;
  if (how === "voided") return `Cancelled: no tab for ${who} was opened, and nothing is held.`;
  return `It is not known yet whether the tab for ${who} is open. Your node goes on asking: open no other, the end will show here.`;
};

/** Brings what is shown up to what the node says now. */
const follow = () => {
  for (const [card, { how, item, again }] of cards) {
    if (card.hidden || !item.tab || how === "asking") continue;
    const same = (tab) => tab.role === "payer" && tab.tab === item.tab;
    const open = (state.tabs ?? []).find(same);
    const over = (state.ended ?? []).find(same);
    const now = over ? end(over) : { opening: "unknown" }[open?.state] ?? open?.state ?? how;
    if (now !== how) {
      const { paid, amount: spent } = over ?? {};
      return show(card, now, { ...item, paid, spent }, over?.reason?.replaceAll("_", " "), again);
    }
    const rows = card.querySelector(".rows");
    if (rows && open) meters(rows, [open]);
    else if (rows) put(rows);
  }
};
on("tabs", follow);
on("ended", follow);
