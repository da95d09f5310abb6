// Paying. The form has an intent, made by the node when it is shown: the same intent pays once,
// however often it is sent, and a page that comes back is told the same end.
import { $, amount, complain, el, message, put } from "./dom.js";
import { ask, on, state } from "./node.js";
import { asked, forget, read } from "./link.js";
import { button, cancel, paint, stands, why } from "./outcome.js";
import * as opened from "./opened.js";
import * as scan from "./scan.js";

let intent = null;
let order = null;

/** Shows a new form, perhaps with `to` in it. */
export const show = (to) => {
  if (to) $("pay-to").value = to;
  if (order) again();
  (to ? $("pay-amount") : $("pay-to")).focus({ preventScroll: true });
  if (to) read();
  prepare();
};

export const leave = () => scan.stop();

const prepare = async () => {
  intent = null;
  const told = await ask("api/intent");
  if (told.ok) intent = told.item;
};

const again = () => {
  order = null;
  opened.forget($("pay-outcome"));
  $("pay-form").hidden = false;
  $("pay-form").reset();
  $("pay-button").disabled = false;
  forget();
  clear();
};

const clear = () => ["pay-to", "pay-amount", "pay-memo", "pay", "scan"].forEach((field) => complain(field, ""));

/** Takes what was scanned. */
export const scanned = (text) => {
  $("pay-to").value = text;
  read();
};

$("pay-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  clear();
  scan.stop();
  if (!intent) await prepare();
  const used = intent;
  const wish = { payee: $("pay-to").value, amount: $("pay-amount").value, memo: $("pay-memo").value };
  const { tab } = asked ?? {};
  $("pay-button").disabled = true;
  $("pay-form").hidden = true;
  opened.forget($("pay-outcome"));
  if (tab) opened.show($("pay-outcome"), "asking", { payee: asked.payee });
  else outcome("asking", wish, null);
  const told = asked
    ? await ask("api/pay-link", { link: wish.payee.trim(), amount: asked.open ? wish.amount : "" })
    : await ask("api/pay", { intent: used, ...wish });
  $("pay-button").disabled = false;
  const item = told.item;
  if (!told.ok && !item) {
    opened.forget($("pay-outcome"));
    $("pay-form").hidden = false;
    const field = { payee: "pay-to", amount: "pay-amount", memo: "pay-memo" }[told.field] ?? "pay";
    if (field === "pay") put($("pay-error"), message(told.message));
    else complain(field, told.message);
    return;
  }
  order = item.order ?? item.tab ?? null;
  const text = told.message ?? item.message;
  if (tab) {
    $("pay-form").hidden = Boolean(item.tab);
    opened.show($("pay-outcome"), stands(item), item, text, anew);
  } else outcome(stands(item), item, text);
  // Without an order nothing was sent: the same form may be put right and sent again.
  if (order) prepare();
});

const anew = ["Make another payment", () => {
  again();
  prepare();
  $("pay-to").focus();
}];

/** Shows where the money of the payment is. */
const outcome = (how, item, text) => {
  const code = item.currency ?? state.status?.item?.currency;
  // What was refused before anything was sent can be put right in the same form.
  $("pay-form").hidden = how !== "refused" || Boolean(item.order);
  paint($("pay-outcome"), how,
    item.amount && el("p", {}, amount(item.amount, code)),
    el("p", {}, said(how, item)),
    how === "refused" && why(text),
    el("p", { class: "actions" },
      how === "settled" && el("a", { class: "button", href: `#/receipt/${item.entry}` }, "See the receipt"),
      how === "unknown" && item.order && button("Cancel it", () => cancel(item.order)),
      how !== "asking" && order && button(...anew)));
};

const said = (how, item) => {
  const who = asked?.payee || item.payee || "";
  if (how === "asking") return `Paying ${who}: the directory is being asked.`;
  if (how === "settled" && item.earlier) return `You had paid this to ${who} already, as entry ${item.entry}: nothing new was sent.`;
  if (how === "settled") {
    // The journal does not keep the way that it went.
    const way = { directory: ", through the directory, since they could not be reached", direct: ", directly" }[item.route] ?? "";
    return `Paid to ${who}${way}. It is in the ledger as entry ${item.entry}.`;
  }
  if (how === "refused") return `Not paid to ${who}: no money has moved.`;
  if (how === "voided") return `Cancelled: nothing was paid to ${who}, and this payment never will be.`;
  return `It is not known yet whether ${who} was paid. Your node goes on asking: do not pay again, the end will show here.`;
};

/** The end of a payment is what the node's journal says, whenever it says so. */
on("sent", (lines) => {
  const line = order && lines.find((line) => line.order === order);
  if (!line || $("pay-outcome").hidden || $("pay-outcome").classList.contains(line.state)) return;
  outcome(line.state, { ...line, payee: line.counterparty }, line.reason?.replaceAll("_", " "));
});
