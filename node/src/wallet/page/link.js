// Reading a link: what it asks, before anything is paid.
import { $, amount, complain, el, put, when } from "./dom.js";
import { ask } from "./node.js";

/** What the link in the form asks for; nothing if a name stands there. */
export let asked = null;

/** What is in the first field: a name, or a link that says itself who and how much. */
const isLink = () => /^\s*quid:/i.test($("pay-to").value);

export const forget = () => {
  asked = null;
  $("pay-asked").hidden = true;
  $("pay-amount-row").hidden = false;
  $("pay-memo-row").hidden = false;
  $("pay-button").textContent = "Pay";
};

/** Reads a link as soon as there is one. */
export const read = async () => {
  complain("pay-to", "");
  if (!isLink()) return forget();
  const link = $("pay-to").value.trim();
  const told = await ask("api/link", { link });
  if (link !== $("pay-to").value.trim()) return;
  if (!told.ok) {
    forget();
    return complain("pay-to", told.message);
  }
  const { payee, key, known, online, amount: sum, units, currency, memo, once, expires, earlier } = told.item;
  const open = !sum;
  asked = { ...told.item, open, tab: Boolean(units) };
  put($("pay-asked"),
    el("p", {}, el("strong", {}, payee), what(asked)),
    !open && el("p", {}, amount(sum, currency)),
    asked.tab && el("p", {}, "That is held while the tab is open. Your programs pay on it as they use it, and what they do not pay comes back."),
    memo && el("p", {}, `“${memo}”`),
    el("p", { class: "hint" }, "Key ", el("code", {}, key), known ? ", paid before" : ", never paid before",
      online ? "; online" : "; not online", once ? "; to be paid once" : "", "; until ", when(expires)),
    earlier && el("p", { class: "error" }, asked.tab ? "You have opened this tab already: no other is opened."
      : "You have paid this already: paying again sends nothing."),
  );
  $("pay-asked").hidden = false;
  $("pay-amount-row").hidden = !open;
  $("pay-memo-row").hidden = true;
  $("pay-button").textContent = asked.tab ? "Open the tab" : "Pay";
};

const what = ({ open, tab, unit, units, currency }) => {
  if (open) return " asks for an amount that you choose";
  if (tab) return ` asks for a tab of ${units} units of ${brief(unit)} ${currency}, at most`;
  return " asks for";
};

/** An amount without the zeros at its end. */
const brief = (text) => (text.includes(".") ? text.replace(/\.?0*$/, "") : text);

$("pay-to").addEventListener("input", read);
