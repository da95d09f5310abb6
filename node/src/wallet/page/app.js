// The page: which view is shown, and what stands in all of them.
import { $, amount, el, message, put } from "./dom.js";
import { follow, on, state } from "./node.js";
import { draw } from "./chart.js";
import * as pay from "./pay.js";
import * as request from "./ask.js";
import * as history from "./history.js";
import * as receipt from "./receipt.js";
import * as opening from "./opening.js";
import "./home.js";
import "./register.js";
import "./tabs.js";

const views = {
  home: draw, pay: pay.show, ask: request.show, history: history.show, receipt: receipt.show, tab: opening.show,
  register: () => {},
};

/** The way that leads to a view which has none of its own. */
const below = { receipt: "history", tab: "home" };

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
    const current = { [`#/${view}`]: "page", [`#/${below[view]}`]: "true" }[way.getAttribute("href")];
    if (current) way.setAttribute("aria-current", current);
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

const connected = () => {
  const { online, reason } = state.connection ?? {};
  // A directory that knows no name of ours is not away.
  const unnamed = state.status?.error === "not_registered";
  const away = online === false && !unnamed;
  $("connection").textContent = unnamed ? "no name yet" : away ? "directory away" : online ? "online" : "connecting";
  $("connection").classList.toggle("online", Boolean(online));
  document.body.classList.toggle("before", away);
  warn("connection", away && `The directory is away (${reason}). This wallet keeps trying; what you see below is from before.`);
  if (online) warn("wallet", null);
};
on("connection", connected);
on("status", connected);

on("wallet", (how) => {
  if (how === "here") return warn("wallet", null);
  $("connection").textContent = "wallet away";
  $("connection").classList.remove("online");
  warn("wallet", how === "gone" ? "This wallet has ended. Start `quid wallet` again and open its new link."
    : "The wallet does not answer. This page keeps trying.");
});

window.addEventListener("hashchange", route);
follow();
