// The page: which view is shown, and what stands in all of them.
import { $, amount, chip, complain, el, list, message, put, tell } from "./dom.js";
import { ask, follow, on, state } from "./node.js";
import { draw } from "./chart.js";
import * as pay from "./pay.js";
import * as request from "./ask.js";
import * as history from "./history.js";
import * as receipt from "./receipt.js";
import "./tabs.js";

const views = { home: draw, pay: pay.show, ask: request.show, history: history.show, receipt: receipt.show, register: () => {} };

/** Shows the view that the address names. */
const route = () => {
  if (location.hash === "#main") return $("main").focus();
  const [name, ...rest] = location.hash.slice(2).split("/");
  const registered = state.status?.error !== "not_registered";
  const view = registered ? (name in views && name !== "register" ? name : "home") : "register";
  const changed = $(view).hidden;
  for (const other of Object.keys(views)) $(other).hidden = other !== view;
  $("ways").hidden = !registered;
  for (const way of $("ways").children) {
    if (way.getAttribute("href") === `#/${view}`) way.setAttribute("aria-current", "page");
    else way.removeAttribute("aria-current");
  }
  const title = $(view).querySelector("h1");
  document.title = `${title.textContent} · Quid`;
  if (view !== "pay") pay.leave();
  if (changed) scrollTo(0, 0);
  if (changed && shown) title.focus({ preventScroll: true });
  shown = true;
  // After that: a form takes the focus to where one types.
  views[view](rest.map(decodeURIComponent).join("/"));
};
let shown = false;

on("status", (told) => {
  if (!told.ok) return route();
  const { name, balance, held, currency, tabs, fork, doubt } = told.item;
  $("account").textContent = name;
  put($("balance"), amount(balance, currency));
  const none = /^[0.]*$/.test(held);
  put($("held"), ...(none ? ["Nothing is held for tabs"]
    : ["and ", amount(held, currency), ` held for ${tabs === 1 ? "a tab" : `${tabs} tabs`}`]));
  for (const unit of document.querySelectorAll("[data-currency]")) unit.textContent = currency;
  warn("fork", fork && `The directory has signed two histories: nothing is paid or accepted. The proof is in ${fork}.`);
  warn("doubt", doubt);
  if (!$("register").hidden || !shown) route();
  if (!$("home").hidden) draw();
  if (!$("history").hidden) history.refresh();
});

const warnings = {};
const warn = (what, text) => {
  if (text) warnings[what] = text;
  else delete warnings[what];
  const lines = Object.values(warnings);
  $("banner").hidden = lines.length === 0;
  put($("banner"), ...lines.map((line) => el("div", {}, message(line))));
};

on("connection", ({ online, reason }) => {
  $("connection").textContent = online ? "online" : "directory away";
  $("connection").classList.toggle("online", online);
  document.body.classList.toggle("before", !online);
  warn("connection", !online && `The directory is away (${reason}). This wallet keeps trying; what you see below is from before.`);
  if (online) warn("wallet", null);
});

on("wallet", (how) => {
  if (how === "here") return warn("wallet", null);
  $("connection").textContent = "wallet away";
  $("connection").classList.remove("online");
  warn("wallet", how === "gone" ? "This wallet has ended. Start `quid wallet` again and open its new link."
    : "The wallet does not answer. This page keeps trying.");
});

on("sent", (lines) => {
  if (lines.length) list($("sent"), lines.slice(0, 6), sentRow);
  else put($("sent"), el("li", { class: "empty" }, "None yet"));
});

const sentRow = (line) => el("li", {},
  el("span", { class: "who" }, line.counterparty),
  el("span", { class: "how" }, amount(line.amount, line.currency)),
  el("span", { class: "why" }, line.memo || (line.reason ?? "").replaceAll("_", " ")),
  el("span", { class: "state" }, line.state === "settled"
    ? el("a", { href: `#/receipt/${line.entry}` }, chip("settled")) : chip(line.state)),
  line.state === "unknown" && el("span", { class: "wide actions" },
    el("span", { class: "why" }, "Do not pay again: the end shows here. "),
    el("button", { type: "button", onclick: () => pay.cancel(line.order) }, "Cancel it")));

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

on("event", (told) => {
  if (told.event === "received") {
    tell("Received ", amount(told.amount, told.currency), ` from ${told.counterparty}`, told.memo && `: ${told.memo}`);
  } else if (told.event === "refused") {
    tell(`Refused: ${told.message}`);
  }
});

$("register-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const told = await ask("api/register", { name: $("register-name").value, invite: $("register-invite").value });
  put($("register-error"), told.ok ? "" : message(told.message));
  complain("register-name", told.ok ? "" : told.message);
});

window.addEventListener("hashchange", route);
follow();
