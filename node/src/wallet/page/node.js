// The way to the node. How things stand comes from there, each time; the page remembers nothing.

const token = document.querySelector("meta[name=quid-token]").content;

const answered = async (response) => {
  if (response.headers.get("content-type")?.startsWith("application/json")) return response.json();
  return { ok: false, error: "closed", message: (await response.text()).trim() || "the wallet does not answer" };
};

const reach = async (path, options) => {
  try {
    return await answered(await fetch(path, options));
  } catch {
    return { ok: false, error: "closed", message: "the wallet does not answer: is `quid wallet` still running?" };
  }
};

/** Reads something. */
export const look = (path) => reach(path, {});

/** Asks the node to do something. */
export const ask = (path, form = {}) => reach(path, {
  method: "POST",
  headers: { "content-type": "application/json", "x-quid-token": token },
  body: JSON.stringify(form),
});

/** Has the node look for a QR code in a picture of one byte of brightness a pixel. */
export const scan = (width, pixels) => reach(`api/scan?width=${width}`, {
  method: "POST",
  headers: { "content-type": "application/octet-stream", "x-quid-token": token },
  body: pixels,
});

/** The newest state of everything, by name; see `on`. */
export const state = {};
const followers = {};

/** Calls `follower` with a part of the state now and whenever it changes. */
export const on = (name, follower) => {
  (followers[name] ??= []).push(follower);
  if (name in state) follower(state[name]);
};

const put = (name, value) => {
  if (name !== "event") state[name] = value;
  for (const follower of followers[name] ?? []) follower(value);
};

export const follow = () => {
  const source = new EventSource("live");
  for (const name of ["connection", "status", "people", "contacts", "sent", "tabs", "ended", "requests", "event"]) {
    source.addEventListener(name, (told) => put(name, JSON.parse(told.data)));
  }
  source.addEventListener("open", () => put("wallet", "here"));
  source.addEventListener("error", () => put("wallet", source.readyState === EventSource.CLOSED ? "gone" : "lost"));
};
