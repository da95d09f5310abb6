// Tabs, each with a meter that moves as it is paid, and those that are over with their end.
import { $, amount, chip, el, list, message, put, tell } from "./dom.js";
import { ask, on } from "./node.js";

const key = (tab) => `${tab.key}/${tab.tab}`;

const whose = (tab) => {
  const name = tab.peer ?? `${tab.key.slice(0, 8)}…`;
  return tab.role === "payer" ? `You pay ${name}` : `${name} pays you`;
};

/** Gives a list one row for each tab; a row is kept as long as its tab, so that focus stays where it is. */
export const meters = (element, tabs) => {
  const held = new Map([...element.children].map((row) => [row.dataset.tab, row]));
  put(element, ...tabs.map((tab) => meter(tab, held.get(key(tab)))));
};

const meter = (tab, before) => {
  const li = before ?? el("li", { "data-tab": key(tab) },
    el("span", { class: "who" }), el("span", { class: "how" }),
    el("meter", { min: 0, max: tab.units }),
    el("span", { class: "why" }), el("span", { class: "state" }),
    el("span", { class: "wide actions" }));
  const [title, sum, bar, count, state, actions] = li.children;
  title.textContent = whose(tab);
  put(sum, amount(tab.amount, tab.currency));
  bar.value = tab.paid;
  bar.setAttribute("aria-label", `${whose(tab)}: ${tab.paid} of ${tab.units} units`);
  count.textContent = `${tab.paid} of ${tab.units} units`;
  put(state, chip(tab.state));
  // While it is not known whether it is open, there is nothing to close.
  const closable = tab.role === "payer" && tab.state === "open";
  if (!closable) put(actions);
  else if (!actions.firstChild) {
    put(actions, el("button", { type: "button", onclick: (clicked) => close(tab.tab, clicked.target) }, "Close this tab"));
  }
  return li;
};

/** How a tab that is over ended: refused, cancelled before it opened, or over. */
export const end = (tab) => (tab.reason ? (tab.reason === "voided" ? "voided" : "refused") : "over");

const over = (tab) => {
  const how = end(tab);
  return el("li", {},
    el("span", { class: "who" }, how === "over" ? `You paid ${tab.peer}` : `A tab for ${tab.peer}`),
    el("span", { class: "how" }, how === "over" && amount(tab.amount, tab.currency)),
    el("span", { class: "why" }, how === "over" ? `${tab.paid} of ${tab.units} units`
      : how === "voided" ? "it never opened, and nothing is held" : tab.reason.replaceAll("_", " ")),
    el("span", { class: "state" }, chip(how)));
};

on("tabs", (tabs) => {
  $("tabs-none").hidden = tabs.length > 0;
  meters($("tabs"), tabs);
});

on("ended", (tabs) => {
  $("ended-part").hidden = tabs.length === 0;
  list($("ended"), tabs.slice(0, 4), over);
});

const close = async (tab, button) => {
  button.disabled = true;
  const told = await ask("api/close-tab", { tab });
  button.disabled = false;
  const { returned, currency, released, grace } = told.item ?? {};
  if (!told.ok) return tell(message(told.message));
  const rest = returned ? amount(returned, currency) : "The rest";
  tell("Closed. ", rest, released ? " comes back." : ` comes back in ${grace} s, unless it is claimed.`);
};
