// What became of a wish, in one card: the same words for payments and tabs wherever they are shown.
import { chip, el, message, put, tell } from "./dom.js";
import { ask } from "./node.js";

/** Shows how it stands in the card, and these parts below. */
export const paint = (card, how, ...parts) => {
  card.className = `card outcome ${how}`;
  put(card, el("p", {}, chip(how)), ...parts);
  card.hidden = false;
  // What is being asked is said when it is known.
  if (how !== "asking") card.focus();
};

/** How it stands. What the payer called back is cancelled, though the directory calls it refused. */
export const stands = (item) => (item.reason === "voided" ? "voided" : item.state);

/** Why it was refused, in the node's words. */
export const why = (text) => text && el("p", { class: "hint" }, message(text.replace(/^refused: /, "Why: ")));

export const button = (text, onclick, kind) => el("button", { type: "button", class: kind, onclick }, text);

/** Copies a text, and says so on the button. */
export const copying = (label, text) => button(label, async (clicked) => {
  const { target } = clicked;
  try {
    await navigator.clipboard.writeText(text);
    target.textContent = "Copied";
  } catch {
    target.textContent = "Select and copy it by hand";
  }
});

/** Cancels a payment whose end is not known. */
export const cancel = async (which) => {
  const told = await ask("api/void", { order: which });
  tell(told.ok ? (told.item.state === "settled" ? "It had settled already." : "Cancelled: it can never settle.")
    : message(told.message));
};
