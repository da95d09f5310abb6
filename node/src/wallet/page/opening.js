// Opening a tab. Like a payment, the form has an intent: the same intent opens one tab, however often
// it is sent.
import { $, amount, complain, message, put } from "./dom.js";
import { ask } from "./node.js";
import { follow } from "./hold.js";
import { stands } from "./outcome.js";
import * as opened from "./opened.js";

let intent = null;
let tab = null;

const fields = ["payee", "unit", "units", "life", "memo"];
const clear = () => {
  for (const field of fields) complain(`tab-${field}`, "");
  put($("tab-error"));
};

/** Shows the form, perhaps with `payee` in it. */
export const show = (payee) => {
  if (tab) again();
  if (payee) $("tab-payee").value = payee;
  (payee ? $("tab-unit") : $("tab-payee")).focus({ preventScroll: true });
  prepare();
};

const prepare = async () => {
  intent = null;
  const told = await ask("api/intent");
  if (told.ok) intent = told.item;
};

const again = () => {
  tab = null;
  opened.forget($("tab-outcome"));
  $("tab-form").hidden = false;
  $("tab-form").reset();
  put($("tab-risk"));
  clear();
};

const another = () => {
  again();
  prepare();
  $("tab-payee").focus();
};

follow($("tab-unit"), $("tab-units"), (told) => put($("tab-risk"), ...(told ? [
  "At risk: at most ", amount(told.hold, told.currency), ". That is held while the tab is open, and what is not paid comes back.",
] : [])));

$("tab-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  if ($("tab-button").disabled) return;
  $("tab-button").disabled = true;
  clear();
  if (!intent) await prepare();
  const wish = Object.fromEntries(fields.map((field) => [field, $(`tab-${field}`).value]));
  $("tab-form").hidden = true;
  opened.show($("tab-outcome"), "asking", { payee: wish.payee });
  const told = await ask("api/open-tab", { intent, ...wish });
  $("tab-button").disabled = false;
  const { item } = told;
  if (!told.ok && !item) {
    opened.forget($("tab-outcome"));
    $("tab-form").hidden = false;
    if (!fields.includes(told.field)) return put($("tab-error"), message(told.message));
    complain(`tab-${told.field}`, told.message);
    return $(`tab-${told.field}`).focus();
  }
  tab = item.tab ?? null;
  // What was refused before anything was sent can be put right in the same form.
  $("tab-form").hidden = tab !== null;
  opened.show($("tab-outcome"), stands(item), item, told.message, ["Open another tab", another]);
  if (tab) prepare();
});
