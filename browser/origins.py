"""Another origin in the same browser: another port of this machine, and another name of it."""

import http.server
import threading


class Origins:
    def lets_no_other_origin_in(self):
        page, before = self.page, self.balance()
        token = page.run("return document.querySelector('meta[name=quid-token]').content")
        cookies = []
        server = elsewhere(cookies)
        port = server.server_address[1]
        for host in ["127.0.0.1", "localhost"]:
            page.open(f"http://{host}:{port}/")
            stopped = self.stopped()
            told = page.run(ATTACK, self.home, token)
            # All ten came, and none of them was let in.
            assert self.stopped() - stopped >= len(told), f"{self.stopped() - stopped} of {told}"
            for name, got in told.items():
                assert got in ("refused", "opaque"), f"{host}: {name}: {got}"
        assert not any("quid_wallet" in cookie for cookie in cookies), "the cookie goes to no other port"
        server.shutdown()
        # A name that was made to point to this machine.
        page.open(self.home.replace("127.0.0.1", "localhost"))
        assert "no name of this wallet" in page.text("body"), page.text("body")
        page.complaints()
        page.open(self.home)
        page.wait("the wallet itself", "#connection", "online")
        assert self.balance() == before, "another origin has paid"


ATTACK = """
  const [home, token] = arguments;
  const told = {};
  const headers = { "content-type": "application/json", "x-quid-token": token };
  const pay = JSON.stringify({ intent: "019aab12-3456-7abc-8def-0123456789ab", payee: "bob", amount: "5" });
  const reached = (work) => work.then(async (it) => it.type === "opaque" ? "opaque" : `${it.status} ${await it.text()}`, () => "refused");
  told.reads = await reached(fetch(home + "api/history", { credentials: "include" }));
  told.page = await reached(fetch(home, { credentials: "include" }));
  told.blind = await reached(fetch(home + "api/history", { mode: "no-cors", credentials: "include" }));
  told.pays = await reached(fetch(home + "api/pay", { method: "POST", headers, body: pay, credentials: "include" }));
  told.paysBlind = await reached(fetch(home + "api/pay", { method: "POST", mode: "no-cors", body: pay, credentials: "include" }));
  told.follows = await new Promise((done) => { const it = new EventSource(home + "live", { withCredentials: true });
    it.onmessage = it.onopen = () => done("followed"); it.onerror = () => { it.close(); done("refused"); }; });
  told.script = await new Promise((done) => { const it = document.createElement("script"); it.src = home + "app.js";
    it.onload = () => done("loaded"); it.onerror = () => done("refused"); document.head.append(it); });
  told.image = await new Promise((done) => { const it = document.createElement("img"); it.src = home + "icon.svg";
    it.onload = () => done("loaded"); it.onerror = () => done("refused"); });
  told.frame = await new Promise((done) => { const it = document.createElement("iframe"); it.src = home; it.name = "frame";
    it.onload = () => { let seen; try { seen = it.contentDocument?.title ?? ""; } catch { seen = ""; } done(seen === "" ? "refused" : seen); };
    document.body.append(it); });
  told.form = await new Promise((done) => { const it = document.createElement("form"); it.method = "post"; it.action = home + "api/pay";
    it.enctype = "text/plain"; it.target = "frame"; const field = document.createElement("input");
    field.name = pay.slice(0, -1) + ', "x":"'; field.value = '"}'; it.append(field); document.body.append(it);
    document.querySelector("iframe").onload = () => done("refused"); it.submit(); });
  return told;
"""


def elsewhere(cookies):
    """Another server on this machine: a second origin."""
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            cookies.append(self.headers.get("cookie", ""))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>elsewhere")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
