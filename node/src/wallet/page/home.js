// What happens around the account: payments sent, who is online, and what comes in.
import { $, amount, chip, el, list, put, tell } from "./dom.js";
import { on, state } from "./node.js";
import { cancel } from "./outcome.js";

on("sent", (lines) => {
  if (lines.length) list($("sent"), lines.slice(0, 6), sentRow);
  else put($("sent"), el("li", { class: "empty" }, "None yet"));
});

const sentRow = (line) => el("li", {},
  el("span", { class: "who" }, line.counterparty),
  el("span", { class: "how" }, amount(line.amount, line.currency)),
  el("span", { class: "why" }, [line.memo, line.reason?.replaceAll("_", " ")].filter(Boolean).join(": ")),
  el("span", { class: "state" }, line.state === "settled"
    ? el("a", { href: `#/receipt/${line.entry}` }, chip("settled")) : chip(line.state)),
  line.state === "unknown" && el("span", { class: "wide actions" },
    el("span", { class: "why" }, "Do not pay again: the end shows here. "),
    el("button", { type: "button", onclick: () => cancel(line.order) }, "Cancel it")));

const people = () => {
  const others = (state.people ?? []).filter((person) => person.name !== state.status?.item?.name);
  put($("people"), ...(others.length
    ? others.map(({ name }) => el("li", {}, el("a", { href: `#/pay/${name}` }, name)))
    : [el("li", { class: "empty" }, "Nobody else just now")]));
  names();
};
on("people", people);
on("contacts", people);
on("status", people);

const names = () => {
  const own = state.status?.item?.name;
  const online = (state.people ?? []).map((person) => person.name);
  const all = [...new Set([...online, ...(state.contacts ?? [])])].filter((name) => name !== own);
  put($("names"), ...all.map((name) => el("option", { value: name }, online.includes(name) ? "online" : "")));
};

/** Whether this wallet sent the order, whose end then stands among the payments sent. */
const own = (order) => (state.sent ?? []).some((line) => line.order === order);

on("event", (told) => {
  if (told.event === "received") {
    tell("Received ", amount(told.amount, told.currency), ` from ${told.counterparty}`, told.memo && `: ${told.memo}`);
  } else if (told.event === "refused" && told.reason !== "voided") {
    tell(`Refused: ${told.message}`);
  } else if (told.event === "refused" && !own(told.order)) {
    tell("Cancelled by its payer: nothing was paid.");
  }
});
