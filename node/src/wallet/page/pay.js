// Paying. The form has an intent, made by the node when it is shown: the same intent pays once,
// however often it is sent, and a page that comes back is told the same end.
import { $, amount, chip, complain, el, message, put, tell, when } from "./dom.js";
import { ask, on, state } from "./node.js";
import * as scan from "./scan.js";

let intent = null;
let order = null;
let asked = null;

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
  $("pay-outcome").hidden = true;
  $("pay-form").hidden = false;
  $("pay-form").reset();
  $("pay-button").disabled = false;
  forget();
  clear();
};

const clear = () => ["pay-to", "pay-amount", "pay-memo", "pay", "scan"].forEach((field) => complain(field, ""));

/** What is in the first field: a name, or a link that says itself who and how much. */
const isLink = () => /^\s*quid:/i.test($("pay-to").value);

const forget = () => {
  asked = null;
  $("pay-asked").hidden = true;
  $("pay-amount-row").hidden = false;
  $("pay-memo-row").hidden = false;
};

/** Reads a link as soon as there is one, and shows what it asks before anything is paid. */
const read = async () => {
  complain("pay-to", "");
  if (!isLink()) return forget();
  const link = $("pay-to").value.trim();
  const told = await ask("api/link", { link });
  if (link !== $("pay-to").value.trim()) return;
  if (!told.ok) {
    forget();
    return complain("pay-to", told.message);
  }
  asked = told.item;
  const { payee, key, known, online, amount: sum, unit, units, currency, memo, once, expires } = asked;
  const open = asked.open = !sum;
  put($("pay-asked"), 
    el("p", {}, el("strong", {}, payee), open ? " asks for an amount that you choose"
      : units ? ` asks for a tab of ${units} units of ${unit} ${currency}, which hold` : " asks for"),
    !open && el("p", {}, amount(sum, currency)),
    memo && el("p", {}, `“${memo}”`),
    el("p", { class: "hint" }, "Key ", el("code", {}, key), known ? ", paid before" : ", never paid before",
      online ? "; online" : "; not online", once ? "; to be paid once" : "", "; until ", when(expires)),
    asked.earlier && el("p", { class: "error" }, "You have paid this already: paying again sends nothing."),
  );
  $("pay-asked").hidden = false;
  $("pay-amount-row").hidden = !open;
  $("pay-memo-row").hidden = true;
};

/** Takes what was scanned. */
export const scanned = (text) => {
  $("pay-to").value = text;
  read();
};

$("pay-to").addEventListener("input", read);

$("pay-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  clear();
  scan.stop();
  if (!intent) await prepare();
  const used = intent;
  const wish = { payee: $("pay-to").value, amount: $("pay-amount").value, memo: $("pay-memo").value };
  $("pay-button").disabled = true;
  outcome("asking", wish, null);
  const told = asked
    ? await ask("api/pay-link", { link: wish.payee.trim(), amount: asked.open ? wish.amount : "" })
    : await ask("api/pay", { intent: used, ...wish });
  $("pay-button").disabled = false;
  const item = told.item;
  if (!told.ok && !item) {
    $("pay-outcome").hidden = true;
    $("pay-form").hidden = false;
    const field = { payee: "pay-to", amount: "pay-amount", memo: "pay-memo" }[told.field] ?? "pay";
    if (field === "pay") put($("pay-error"), message(told.message));
    else complain(field, told.message);
    return;
  }
  order = item.order ?? item.tab ?? null;
  outcome(item.state, item, told.message ?? item.message);
  // Without an order nothing was sent: the same form may be put right and sent again.
  if (order) prepare();
});

/** Shows where the money of the payment is. */
const outcome = (how, item, text) => {
  const place = $("pay-outcome");
  place.className = `card outcome ${how}`;
  const code = item.currency ?? state.status?.item?.currency;
  put(place,
    el("p", {}, chip(how)),
    item.amount && el("p", {}, amount(item.amount, code)),
    el("p", {}, said(how, item)),
    // What else there is to say of an unknown end is for the command line; the buttons are here.
    how === "refused" && text && el("p", { class: "hint" }, message(text.replace(/^refused: /, "Why: "))),
    el("p", { class: "actions" },
      how === "settled" && el("a", { class: "button", href: `#/receipt/${item.entry}` }, "See the receipt"),
      how === "unknown" && item.order && el("button", { type: "button", onclick: () => cancel(item.order) }, "Cancel it"),
      how !== "asking" && order && el("button", { type: "button", onclick: () => { again(); prepare(); $("pay-to").focus(); } },
        "Make another payment"),
    ),
  );
  place.hidden = false;
  // What was refused before anything was sent can be put right in the same form.
  $("pay-form").hidden = how !== "refused" || Boolean(item.order);
  if (how !== "asking") place.focus();
};

const said = (how, item) => {
  const who = asked?.payee || item.payee || "";
  if (how === "asking") return `Paying ${who}: the directory is being asked.`;
  if (how === "open") return `The tab for ${who} is open: ${item.hold} is held for it.`;
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

/** Cancels a payment whose end is not known. */
export const cancel = async (which) => {
  const told = await ask("api/void", { order: which });
  tell(told.ok ? (told.item.state === "settled" ? "It had settled already." : "Cancelled: it can never settle.")
    : message(told.message));
};
