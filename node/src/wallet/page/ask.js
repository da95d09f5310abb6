// Asking for money: the node makes a signed request, which others open as a link or scan.
import { $, amount, chip, complain, el, list, message, put, when } from "./dom.js";
import { ask, on } from "./node.js";

let shown = null;

export const show = () => {
  shown = null;
  $("ask-made").hidden = true;
};

$("ask-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  for (const field of ["ask-amount", "ask-memo"]) complain(field, "");
  put($("ask-error"));
  const told = await ask("api/request", {
    amount: $("ask-amount").value, memo: $("ask-memo").value,
    life: Number($("ask-life").value), once: $("ask-once").checked,
  });
  if (!told.ok) {
    if (told.field) complain(`ask-${told.field}`, told.message);
    else put($("ask-error"), message(told.message));
    return;
  }
  shown = told.item.request;
  present(told.item);
  $("ask-made").focus();
});

/** Shows a request so that somebody can scan or copy it, as long as it can be paid. */
const present = (item) => {
  const payable = item.state === "open" || (item.state === "paid" && !item.once && new Date(item.expires) > Date.now());
  put($("ask-made"),
    el("p", { class: "actions" }, chip(item.state), item.amount ? amount(item.amount, item.currency) : "any amount", item.memo && el("span", {}, item.memo)),
    ...(payable ? code(item) : []),
    item.state === "paid" && el("p", {}, payable ? "It has been paid, and can be paid again." : "It has been paid, and cannot be paid again."),
    item.state === "expired" && el("p", {}, "Its time is over: it cannot be paid any more."),
    el("p", { class: "actions" },
      payable && el("button", { type: "button", onclick: (clicked) => copy(item.link, clicked.target) }, "Copy the link"),
      item.entries.map((entry) => el("a", { href: `#/receipt/${entry}` }, `Receipt ${entry}`))));
  $("ask-made").hidden = false;
};

const code = (item) => [
  el("img", { src: `api/request/${item.request}/qr.svg`, alt: "QR code of the request", width: 288, height: 288 }),
  el("code", { class: "link", id: "ask-link" }, item.link),
];

const copy = async (text, button) => {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy it by hand";
  }
};

on("requests", (items) => {
  $("asked-card").hidden = items.length === 0;
  list($("asked"), items, (item) => el("li", {},
    el("span", { class: "who" }, item.memo || (item.amount ? "" : "Any amount")),
    el("span", { class: "how" }, item.amount && amount(item.amount, item.currency)),
    el("span", { class: "why" }, "until ", when(item.expires)),
    el("span", { class: "state" }, chip(item.state)),
    el("span", { class: "wide actions" },
      el("button", { type: "button", onclick: () => { shown = item.request; present(item); $("ask-made").focus(); } }, "Show"),
      item.entries.map((entry) => el("a", { href: `#/receipt/${entry}` }, `Receipt ${entry}`)))));
  const now = items.find((item) => item.request === shown);
  if (now) present(now);
});
