// Open tabs, each with a meter that moves as it is paid.
import { $, amount, chip, el, message, put, tell } from "./dom.js";
import { ask, on } from "./node.js";

on("tabs", (tabs) => {
  $("tabs-card").hidden = tabs.length === 0;
  const held = new Map([...$("tabs").children].map((row) => [row.dataset.tab, row]));
  put($("tabs"), ...tabs.map((tab) => row(tab, held.get(`${tab.key}/${tab.tab}`))));
});

/** A row is kept as long as its tab, so that focus stays where it is. */
const row = (tab, before) => {
  const name = tab.peer ?? `${tab.key.slice(0, 8)}…`;
  const who = tab.role === "payer" ? `You pay ${name}` : `${name} pays you`;
  const li = before ?? el("li", { "data-tab": `${tab.key}/${tab.tab}` },
    el("span", { class: "who" }), el("span", { class: "how" }),
    el("meter", { min: 0, max: tab.units }),
    el("span", { class: "why" }), el("span", { class: "state" }),
    tab.role === "payer" && el("span", { class: "wide actions" },
      el("button", { type: "button", onclick: (clicked) => close(tab.tab, clicked.target) }, "Close this tab")));
  const [title, sum, meter, count, state] = li.children;
  title.textContent = who;
  put(sum, amount(tab.amount, tab.currency));
  meter.value = tab.paid;
  meter.setAttribute("aria-label", `${who}: ${tab.paid} of ${tab.units} units`);
  count.textContent = `${tab.paid} of ${tab.units} units`;
  put(state, chip(tab.state));
  return li;
};

const close = async (tab, button) => {
  button.disabled = true;
  const told = await ask("api/close-tab", { tab });
  button.disabled = false;
  const { returned, currency } = told.item ?? {};
  if (told.ok) tell("Closed. ", returned ? amount(returned, currency) : "The rest", " comes back.");
  else tell(message(told.message));
};
