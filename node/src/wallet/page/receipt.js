// A receipt, verified in front of whoever looks: the node judges, step by step, and this shows how far
// it came.
import { $, amount, chip, el, message, put, when } from "./dom.js";
import { ask, look, state } from "./node.js";

const titles = {
  form: "It is a receipt",
  checkpoint: "The directory signed the head of its log",
  inclusion: "This entry is in that log",
  entry: "The entry can be read",
  signature: "Whoever it binds has signed it",
};
let turn = 0;

export const show = async (which) => {
  $("receipt-card").hidden = true;
  put($("receipt-steps"));
  if (!which) {
    verdict("", "Paste a receipt below, or choose one in the history.");
    return;
  }
  verdict("", "Your node is verifying it");
  const told = await look(`api/receipt/${encodeURIComponent(which)}`);
  if (!told.ok) return verdict("bad", told.message);
  await walk(told.item.steps);
  facts(told.item.receipt);
};

const verdict = (how, text) => {
  $("receipt-verdict").className = `verdict ${how}`;
  put($("receipt-verdict"), message(text));
};

const walk = async (steps) => {
  turn += 1;
  const mine = turn;
  put($("receipt-steps"));
  const slow = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const { name, ok, message: text } of steps) {
    if (mine !== turn) return;
    const how = ok === null ? "none" : ok ? "good" : "bad";
    $("receipt-steps").append(el("li", { class: how },
      el("span", { class: "mark", "aria-hidden": "true" }, { good: "✓", bad: "✕", none: "·" }[how]),
      el("div", {},
        el("strong", {}, titles[name] ?? name), el("span", { class: "offscreen" }, { good: ": yes", bad: ": no", none: ": not looked at" }[how]),
        el("p", {}, message(text)))));
    if (slow && ok) await new Promise((go) => setTimeout(go, 120));
  }
  const good = steps.every((step) => step.ok);
  verdict(good ? "good" : "bad", good ? "Verified. It stands in the log, and nobody can alter it unseen." : "Not verified: it proves nothing.");
};

const facts = (receipt) => {
  const rows = [
    ["What", receipt.kind], ["Amount", receipt.amount && amount(receipt.amount, receipt.currency)],
    ["Memo", receipt.memo], ["When", receipt.time && when(receipt.time)], ["Entry", String(receipt.entry)],
    ["Order", code(receipt.order)], ["Tab", code(receipt.tab)], ["Payer", code(receipt.payer)], [receipt.kind === "registration" ? "Account" : "Payee", code(receipt.payee)],
    ["Reason", receipt.reason], ["Reference", code(receipt.reference)], ["Ledger", code(receipt.ledger)],
  ].filter(([, value]) => value);
  put($("receipt-facts"), ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  put($("receipt-actions"),
    el("a", { class: "button", href: `api/receipt-file/${receipt.entry}`, download: true }, "Save the receipt"),
    el("span", { class: "hint" }, "Anybody can check the file with ", el("code", {}, "quid receipt verify FILE")));
  const own = state.status?.item?.key;
  put($("receipt-refund"));
  if (receipt.kind === "payment" && receipt.payee === own && receipt.payer !== own) offer(receipt);
  $("receipt-card").hidden = false;
};

const button = (text, onclick, kind) => el("button", { type: "button", class: kind, onclick }, text);

/** Asks before anything is paid back. */
const offer = (receipt) => {
  put($("receipt-refund"), button("Pay it back", () => {
    put($("receipt-refund"), el("span", {}, "Pay ", amount(receipt.amount, receipt.currency), " back to whoever sent it?"),
      button("Yes, pay it back", () => refund(receipt), "main"), button("No", () => offer(receipt)));
    $("receipt-refund").querySelector("button").focus();
  }));
};

/** Pays back what came; asked a second time it sends nothing new. */
const refund = async (receipt) => {
  const place = $("receipt-refund");
  const here = location.hash;
  put(place, "Paying it back");
  const told = await ask("api/refund", { entry: receipt.entry });
  const { state: how, entry, payee, earlier } = told.item ?? {};
  // Whoever has gone on to another receipt finds the end in the history.
  if (location.hash !== here) return;
  if (how === "settled") put(place, chip("settled"), el("a", { href: `#/receipt/${entry}` },
    `${earlier ? "It was paid back" : "Paid back"} to ${payee}${earlier ? " already" : ""}, as entry ${entry}`));
  else if (how === "unknown") put(place, chip("unknown"),
    "Your node goes on asking whether it was paid back: the end shows among the payments you sent.");
  else put(place, el("span", { class: "error" }, message(told.message)), button("Try again", () => offer(receipt)));
};

const code = (text) => text && el("code", {}, text);

$("verify-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  $("receipt-card").hidden = true;
  const told = await ask("api/verify", { text: $("verify-text").value });
  if (!told.ok) return verdict("bad", told.message);
  await walk(told.item.steps);
});
