// Asking for money: the node makes a signed request, which others open as a link or scan.
import { $, amount, chip, complain, el, list, message, put, when } from "./dom.js";
import { ask, on } from "./node.js";
import { follow } from "./hold.js";
import { copying } from "./outcome.js";

let shown = null;
// What was drawn of it last: news that is none leaves what somebody is about to press where it is.
let drawn = "";

export const show = () => {
  shown = null;
  drawn = "";
  $("ask-made").hidden = true;
};

$("ask-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  for (const field of ["ask-amount", "ask-units", "ask-memo"]) complain(field, "");
  put($("ask-error"));
  const told = await ask("api/request", {
    amount: $("ask-amount").value, memo: $("ask-memo").value,
    units: isTab() ? $("ask-units").value : null,
    life: Number($("ask-life").value), once: $("ask-once").checked,
  });
  if (!told.ok) {
    if (!told.field) return put($("ask-error"), message(told.message));
    complain(`ask-${told.field}`, told.message);
    return $(`ask-${told.field}`).focus();
  }
  shown = told.item.request;
  present(told.item);
  $("ask-made").focus();
});

const isTab = () => $("ask-kind").value === "tab";

/** A tab has a price and a number of units, where else there is one amount. */
const choose = () => {
  $("ask-units-row").hidden = !isTab();
  $("ask-amount-hint").hidden = isTab();
  $("ask-amount-name").textContent = isTab() ? "Price of a unit" : "Amount";
  for (const field of ["ask-amount", "ask-units"]) complain(field, "");
};
$("ask-kind").addEventListener("change", choose);
// Some browsers remember what was chosen before.
choose();

follow($("ask-amount"), $("ask-units"), (told) => put($("ask-worth"), ...(told ? ["All of them: ", amount(told.hold, told.currency)] : [])));

/** What is wanted, in a few words. */
const wanted = (item) => (item.units ? `a tab of ${item.units} units, at most` : item.amount ? "" : "any amount");

/** Shows a request so that somebody can scan or copy it, as long as it can be paid. */
const present = (item) => {
  const news = JSON.stringify(item);
  if (news === drawn) return;
  drawn = news;
  const payable = item.state === "open" || (item.state === "paid" && !item.once && !item.cancelled && new Date(item.expires) > Date.now());
  put($("ask-made"),
    el("p", { class: "actions" }, chip(item.state), wanted(item) && el("span", {}, wanted(item)),
      item.amount && amount(item.amount, item.currency), item.memo && el("span", {}, item.memo)),
    ...(payable ? code(item) : []),
    item.state === "paid" && el("p", {}, done(item, payable)),
    item.state === "cancelled" && el("p", {}, "Cancelled: whoever still pays it is declined while you are online."),
    item.state === "expired" && el("p", {}, "Its time is over: it cannot be paid any more."),
    el("p", { class: "actions" },
      payable && copying("Copy the link", item.link),
      payable && el("button", { type: "button", id: "ask-cancel", onclick: () => cancel(item) }, "Cancel it"),
      item.entries.map((entry) => el("a", { href: `#/receipt/${entry}` }, `Receipt ${entry}`))));
  $("ask-made").hidden = false;
};

/** Cancels a request; what that does not undo is said. */
const cancel = async (item) => {
  put($("ask-error"));
  const told = await ask(`api/request/${item.request}/cancel`, {});
  if (!told.ok) put($("ask-error"), message(told.message));
  if (told.item) present(told.item);
};

const code = (item) => [
  el("img", { src: `api/request/${item.request}/qr.svg`, alt: "QR code of the request", width: 288, height: 288 }),
  el("code", { class: "link", id: "ask-link" }, item.link),
];

/** What has come of a request that was paid. */
const done = (item, payable) => {
  const how = item.units ? "A tab has been opened for it" : "It has been paid";
  const again = item.units ? "another can be opened" : "can be paid again";
  const never = item.units ? "no other can be opened" : "cannot be paid again";
  return `${how}, and ${payable ? again : never}.`;
};

on("requests", (items) => {
  $("asked-card").hidden = items.length === 0;
  list($("asked"), items, (item) => el("li", {},
    el("span", { class: "who" }, item.memo || (item.units ? "A tab" : item.amount ? "" : "Any amount")),
    el("span", { class: "how" }, item.amount && amount(item.amount, item.currency)),
    el("span", { class: "why" }, item.units && `${item.units} units, `, "until ", when(item.expires)),
    el("span", { class: "state" }, chip(item.state)),
    el("span", { class: "wide actions" },
      el("button", { type: "button", onclick: () => { shown = item.request; present(item); $("ask-made").focus(); } }, "Show"),
      item.entries.map((entry) => el("a", { href: `#/receipt/${entry}` }, `Receipt ${entry}`)))));
  const now = items.find((item) => item.request === shown);
  if (now) present(now);
});
