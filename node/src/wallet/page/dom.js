// Elements made by hand. Everything is set as text or attribute, nothing as markup.

export const $ = (id) => document.getElementById(id);

const make = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...there(children));
  return element;
};

/** Children that are not there are left out. */
const there = (children) => children.flat().filter((child) => child !== null && child !== undefined && child !== false);

/** Gives an element these children and no others. */
export const put = (element, ...children) => {
  const wanted = there(children);
  if (wanted.length === element.childNodes.length && wanted.every((child, at) => child === element.childNodes[at])) return;
  const focused = document.activeElement;
  element.replaceChildren(...wanted);
  // What stays is moved, and what is moved loses the focus.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
};

/** Gives a list one row for each item; a row stays as long as its item is the same, and the focus in it. */
export const list = (element, items, row) => {
  const before = rows.get(element) ?? new Map();
  const now = new Map(items.map((item) => {
    const key = JSON.stringify(item);
    return [key, before.get(key) ?? row(item)];
  }));
  rows.set(element, now);
  put(element, ...now.values());
};
const rows = new WeakMap();

export const el = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** An amount as people read it: the zeros at its end are there, and quiet. */
export const amount = (text, code) => {
  const rest = text.includes(".") ? text.match(/\.?0*$/)[0] : "";
  const whole = text.slice(0, text.length - rest.length);
  return el("span", { class: "amount" }, whole, rest && el("span", { class: "rest" }, rest),
    code && el("span", { class: "code" }, ` ${code}`));
};

/** The one word for where money is. */
export const chip = (state) => el("span", { class: `chip ${state}` }, words[state] ?? state);

const words = {
  asking: "asking",
  settled: "settled",
  refused: "refused",
  voided: "cancelled",
  unknown: "unknown, still asking",
  open: "open",
  opening: "unknown, still asking",
  ending: "ending",
  paid: "paid",
  expired: "expired",
  cancelled: "cancelled",
  over: "over",
};

export const when = (time) => el("time", { datetime: time, title: time }, new Date(time).toLocaleString(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit",
}));

/** A message of the node, with what stands in backquotes as code. */
export const message = (text) => el("span", {}, ...text.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part)));

/** Shows what is wrong at its field, or takes that away. */
export const complain = (field, text) => {
  const input = $(field);
  const place = $(`${field}-error`);
  if (input) text ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
  if (place) put(place, text && message(text));
};

/** A word that appears for some seconds and is read aloud. */
export const tell = (...children) => {
  const line = el("p", {}, ...children);
  $("told").append(line);
  setTimeout(() => line.remove(), 7000);
  while ($("told").children.length > 4) $("told").firstChild.remove();
};
