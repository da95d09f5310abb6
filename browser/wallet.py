#!/usr/bin/env python3
"""Clicks through the wallet in headless Chromium, with a real directory and real nodes.

Needs chromium, chromedriver and the programs in target/debug (or QUID_PROGRAMS). Leaves pictures of the
page in QUID_SCREENSHOTS, or target/screenshots. Ends with 0 if all is as it should be.
"""

import csv
import io
import re

from driver import Browser, play
from origins import Origins
from tabs import Tabs
from trouble import Trouble
from world import PICTURES, World, blank, video

MARKUP = "<img src=x onerror=\"document.title='hit'\"> \u202etea\x1b[2J"
ASK = """
  const token = document.querySelector("meta[name=quid-token]").content;
  const ask = async (path, form) => (await fetch(path, { method: "POST", body: JSON.stringify(form),
    headers: { "content-type": "application/json", "x-quid-token": token } })).json();
"""


def main():
    PICTURES.mkdir(parents=True, exist_ok=True)
    play(World(), Scenes)


class Scenes(Tabs, Trouble, Origins):
    ASK = ASK

    def __init__(self, world, driver):
        self.world, self.driver = world, driver
        self.bob = world.home("bob")
        self.bob.quid("register", "bob")
        self.bob_listens, _ = self.bob.stay("listen")
        # Who is never online.
        self.carol = world.home("carol")
        self.carol.quid("register", "carol")
        # What the camera will see has to be there before the browser starts.
        self.bob.quid("request", "0.5", "--memo", "seen by the camera", "--png", world.folder / "camera.png")
        video(world.folder / "camera.png", world.folder / "camera.y4m")
        self.alice = world.home("alice")
        self.wallet, told = self.alice.stay("wallet", "--no-open")
        self.link = told["link"]
        self.home = self.link.split("open?")[0]
        self.page = Browser(driver, camera=world.folder / "camera.y4m")
        self.page.look(1200, 900, dark=False)

    def all(self):
        return [self.registers, self.registers_with_an_invite_code, self.pays_by_name, self.pays_who_is_away,
                self.a_double_click_pays_once, self.proves_a_receipt,
                self.pays_back, self.puts_right_what_is_wrong, self.shows_foreign_text_as_text, self.asks_for_money,
                self.pays_links, self.scans, self.searches_and_exports,
                self.opens_a_tab, self.puts_right_what_is_wrong_with_a_tab, self.finds_a_tab_that_was_opened_while_the_page_was_closed,
                self.shows_tabs, self.opens_a_tab_by_its_link, self.asks_for_a_tab,
                self.works_by_keyboard, self.asks_about_a_payee_who_is_frozen,
                self.shows_a_payment_to_its_end_though_the_tab_was_closed,
                self.lives_through_a_lost_directory,
                self.keeps_asking_a_directory_that_died_in_the_middle, self.lets_no_other_origin_in,
                self.says_that_it_needs_scripts, self.names_a_port_in_use, self.looks_well,
                self.complains_of_nothing]

    # --- scenes

    def registers(self):
        page = self.page
        page.open(self.home)
        assert "opens with its link only" in page.text("body"), "without the link there is no wallet"
        page.open(self.link)
        page.wait("a new home", "#register", "Take a name")
        page.type("#register-name", "Alice!")
        page.click("#register-form button.main")
        page.wait("a name that is none", "#register-name-error", "name")
        page.type("#register-name", "alice")
        page.click("#register-form button.main")
        page.wait("the account", "#home", "100.000000")
        assert page.url() == self.home, "the link's key does not stay in the address"
        page.wait("who is there", "#people", "bob")
        page.wait("the connection", "#connection", "online")

    def registers_with_an_invite_code(self):
        page, inviting = self.page, World("--registration", "invite")
        try:
            dave = inviting.home("dave")
            _, told = dave.stay("wallet", "--no-open")
            page.open(told["link"])
            page.wait("a new home", "#register", "Take a name")
            page.type("#register-name", "dave")
            page.click("#register-form button.main")
            said = page.wait("it wants a code", "#register-invite-error", "by invitation")
            assert "`" not in said and "quid" not in said, said
            assert page.text("#banner") == "" and page.text("#connection") == "no name yet", "a directory that answers is not away"
            assert page.run("return document.activeElement.id") == "register-invite", "it is where the code belongs"
            self.snap("invite")
            page.type("#register-invite", "aaaa-bbbb")
            page.click("#register-form button.main")
            page.wait("a code that is none", "#register-invite-error", "code")
            page.type("#register-invite", inviting.operate("invite"))
            page.click("#register-form button.main")
            page.wait("the account", "#home", "100.000000")
        finally:
            inviting.close()
        page.open(self.home)
        page.wait("the first wallet", "#account", "alice")

    def pays_by_name(self):
        self.fill("bob", "8.75", "for the tea")
        self.page.click("#pay-button")
        said = self.page.wait("the payment", "#pay-outcome", "settled")
        assert "8.750000" in said, said
        self.tea = re.search(r"entry (\d+)", said)[1]
        self.page.open(self.home)
        self.page.wait("the balance", "#balance", "91.250000")
        self.page.wait("what was sent", "#sent", "for the tea")
        self.page.wait("the curve", "#curve-text", "at most")

    def pays_who_is_away(self):
        self.fill("carol", "0.2", "for when you are back")
        self.page.click("#pay-button")
        said = self.page.wait("the payment", "#pay-outcome", "settled")
        assert "Paid to carol, through the directory, since they could not be reached" in said, said
        self.snap("outcome")
        assert "100.200000" in str(self.carol.quid("status")), "it is there when carol comes"

    def a_double_click_pays_once(self):
        page = self.page
        before = len(self.came("twice"))
        self.fill("bob", "1", "twice")
        page.run("const button = document.getElementById('pay-button'); button.click(); button.click();"
                 "document.getElementById('pay-form').requestSubmit();")
        page.wait("the payment", "#pay-outcome", "settled")
        # The same intent sent by five at one moment, whatever the button does.
        told = page.run(ASK + """
          const intent = (await ask("api/intent", {})).item;
          const wish = { intent, payee: "bob", amount: "1", memo: "twice" };
          const same = await Promise.all([1, 2, 3, 4, 5].map(() => ask("api/pay", wish)));
          const other = await ask("api/pay", { ...wish, amount: "2" });
          return { same, other };""")
        orders = {answer["item"]["order"] for answer in told["same"]}
        assert len(orders) == 1 and all(answer["item"]["state"] == "settled" for answer in told["same"]), told
        assert told["other"]["error"] == "intent_used", told["other"]
        assert len(self.came("twice")) == before + 2, "two intents, two payments"

    def proves_a_receipt(self):
        page = self.page
        page.click("#pay-outcome a.button")
        page.wait("the receipt", "#receipt-verdict", "Verified")
        assert page.text("#receipt-steps").count("✓") == 5, page.text("#receipt-steps")
        page.wait("what it says", "#receipt-facts", "1.000000")
        text = page.run("return (await fetch(document.querySelector('#receipt-actions a').href)).text()")
        (self.world.folder / "receipt.txt").write_text(text)
        (verdict,) = self.bob.quid("receipt", "verify", self.world.folder / "receipt.txt")
        assert verdict["ok"] is True, verdict
        for changed, step in [("no receipt", "form"), (self.altered(text), None)]:
            page.run("document.getElementById('verify-text').value = arguments[0]", changed)
            page.click("#verify-form button")
            page.wait(f"an altered receipt ({step})", "#receipt-verdict", "Not verified")
            assert "✕" in page.text("#receipt-steps")
        page.run("document.getElementById('verify-text').value = arguments[0]", text)
        page.click("#verify-form button")
        page.wait("the same receipt again", "#receipt-verdict", "Verified")

    def pays_back(self):
        page, before = self.page, self.balance()
        self.bob.quid("pay", "alice", "0.4", "--memo", "too much")
        page.open(self.home + "#/history")
        page.wait("what came", "#history-lines", "too much")
        page.click("#history-lines a")
        page.wait("its receipt", "#receipt-refund", "Pay it back")
        assert "`" not in page.text("#receipt-steps"), "keys are shown as such, without quotes"
        page.click("#receipt-refund button")
        page.wait("a question", "#receipt-refund", "back to whoever sent it?")
        page.click("#receipt-refund button:last-child")
        page.wait("no", "#receipt-refund", "Pay it back")
        assert self.balance() == before + 400_000, "nothing is paid back unasked"
        for part in ["Paid back to bob", "It was paid back to bob already"]:
            page.click("#receipt-refund button")
            page.click("#receipt-refund button.main")
            page.wait("the refund", "#receipt-refund", part)
            assert self.balance() == before, "it is paid back once"
            page.open(self.home + "#/history")
            page.run("history.back()")
            page.wait("the same receipt", "#receipt-refund", "Pay it back")

    def puts_right_what_is_wrong(self):
        page = self.page
        for to, amount, place, part in [
                ("bob", "0", "#pay-amount-error", "zero"), ("bob", "1e3", "#pay-amount-error", "digits"),
                ("Bo b", "1", "#pay-to-error", "name"), ("bob", "1.0000001", "#pay-amount-error", "decimals"),
                ("nobody", "1", "#pay-outcome", "refused"), ("bob", "100000", "#pay-outcome", "refused")]:
            self.fill(to, amount, "")
            page.click("#pay-button")
            page.wait(f"{to} {amount}", place, part)
            page.wait(f"{to} {amount}", "#pay-form", "To")
            if part == "refused":
                said = page.text("#pay-outcome")
                assert "no money has moved" in said and "settled" not in said, said
        self.snap("refused")
        page.type("#pay-amount", "0.25")
        page.click("#pay-button")
        page.wait("the same form, put right", "#pay-outcome", "settled")

    def shows_foreign_text_as_text(self):
        page = self.page
        self.bob.quid("pay", "alice", "0.01", "--memo", MARKUP)
        page.wait("a word about it", "#told", "<img src=x")
        page.open(self.home + "#/history")
        seen = page.wait("the history", "#history-lines", "<img src=x")
        assert "\\u{202e}tea\\u{1b}[2J" in seen, seen
        assert page.run("return document.querySelectorAll('main img').length + document.title.includes('hit')") == 0

    def asks_for_money(self):
        page = self.page
        page.open(self.home + "#/ask")
        page.type("#ask-amount", "1.25")
        page.type("#ask-memo", "a cake")
        page.click("#ask-form button.main")
        link = page.wait("the request", "#ask-link", "quid://")
        assert page.run("""const code = document.querySelector('#ask-made img'); await code.decode();
                           return code.naturalWidth""") > 0
        self.snap("request")
        self.bob.quid("pay", link.strip(), "--yes")
        page.wait("paid before our eyes", "#ask-made", "paid")
        assert not page.finds("#ask-link") and not page.finds("#ask-made img"), "nobody scans it again"
        second = self.bob.try_quid("pay", link.strip(), "--yes")
        assert '"earlier":true' in second.stdout, second.stdout
        page.type("#ask-amount", "0.05")
        page.click("#ask-once")
        page.click("#ask-form button.main")
        link = page.wait("a request for more than one", "#ask-link", "quid://")
        self.bob.quid("pay", link.strip(), "--yes")
        page.wait("paid, and open to others", "#ask-made", "can be paid again")
        assert page.text("#ask-link") == link
        page.click("#ask-cancel")
        page.wait("what cancelling does not undo", "#ask-error", "it was paid before")
        page.wait("paid, and closed", "#ask-made", "cannot be paid again")
        page.type("#ask-amount", "0.06")
        page.click("#ask-form button.main")
        link = page.wait("a request to be cancelled", "#ask-link", "quid://")
        page.click("#ask-cancel")
        page.wait("cancelled before our eyes", "#ask-made", "Cancelled")
        assert not page.finds("#ask-link") and not page.finds("#ask-cancel"), "nobody scans it any more"
        assert '"payee_declined"' in self.bob.try_quid("pay", link.strip(), "--yes").stdout
        page.click("#ask-once")
        page.type("#ask-amount", "x")
        page.click("#ask-form button.main")
        page.wait("an amount that is none", "#ask-amount-error", "digits")

    def pays_links(self):
        page = self.page
        (asked,) = self.bob.quid("request", "2", "--memo", "a <b>book</b>", "--once")
        before = self.balance()
        for turn, part in [(1, "Paid to bob"), (2, "had paid this")]:
            page.open(self.home + "#/history")
            page.open(self.home + "#/pay")
            page.type("#pay-to", asked["link"])
            said = page.wait("what is asked", "#pay-asked", "2.000000")
            assert "bob" in said and "a <b>book</b>" in said and (turn == 1 or "already" in said), said
            if turn == 1:
                self.snap("link")
            page.click("#pay-button")
            page.wait("the link's payment", "#pay-outcome", part)
        assert before - self.balance() == 2_000_000, "a link of which there is one payment"
        (open_one,) = self.bob.quid("request", "--open")
        page.open(self.home + "#/history")
        page.open(self.home + "#/pay")
        page.type("#pay-to", open_one["link"])
        page.wait("an open amount", "#pay-asked", "that you choose")
        page.type("#pay-amount", "0.125")
        page.click("#pay-button")
        page.wait("its payment", "#pay-outcome", "0.125000")
        bad = [asked["link"][:-9], asked["link"].replace("/request/", "/x/"), asked["link"] + "A", "quid://",
               asked["link"][:-20] + ("A" if asked["link"][-20] != "A" else "B") + asked["link"][-19:], "quid://" + "a" * 5000]
        page.open(self.home + "#/history")
        page.open(self.home + "#/pay")
        for link in bad:
            page.run("const to = document.getElementById('pay-to'); to.value = arguments[0];"
                     "document.getElementById('pay-to-error').textContent = '';"
                     "to.dispatchEvent(new Event('input'))", link)
            page.run("""for (let turn = 0; turn < 200; turn += 1) {
                          if (document.getElementById('pay-to-error').textContent) return;
                          await new Promise((go) => setTimeout(go, 20)); }
                        throw new Error('no complaint about ' + arguments[0])""", link)
            assert page.text("#pay-asked") == "", link

    def scans(self):
        page = self.page
        self.bob.quid("request", "3", "--memo", "from a picture", "--png", self.world.folder / "code.png")
        blank(self.world.folder / "blank.png")
        (self.world.folder / "none.png").write_bytes(b"no picture")
        page.open(self.home + "#/history")
        page.open(self.home + "#/pay")
        for name, place, part in [("blank.png", "#scan-error", "there is no QR code in this picture"),
                                  ("none.png", "#scan-error", "no picture"),
                                  ("code.png", "#pay-asked", "from a picture")]:
            page.choose_file("#scan-file", self.world.folder / name)
            page.wait(name, place, part)
        page.open(self.home + "#/history")
        page.open(self.home + "#/pay")
        page.click("#scan-camera")
        page.wait("the camera", "#pay-asked", "seen by the camera")
        page.click("#pay-button")
        page.wait("what the camera saw", "#pay-outcome", "0.500000")
        told = page.run(ASK + "return ask('api/void', { order: '12' })")
        assert told["field"] == "order", told
        told = page.run(ASK + """
          const post = (width, size) => fetch(`api/scan?width=${width}`, { method: "POST", body: new Uint8Array(size),
            headers: { "content-type": "application/octet-stream", "x-quid-token": token } }).then((it) => it.status);
          return [await post(0, 10), await post(7, 10), await post(1024, 1 << 20), await post(1024, (1 << 20) + 1024)];""")
        assert told == [200, 200, 200, 413], told

    def searches_and_exports(self):
        page = self.page
        page.open(self.home + "#/history")
        page.wait("history", "#history-lines", "for the tea")
        page.type("#history-search", "TEA bob 8.75")
        page.wait("found", "#history-state", "1 found")
        self.snap("history")
        # What comes in meanwhile does not take the focus away.
        page.type("#history-search", "tea")
        page.run("document.querySelector('#history-lines tr:last-child a').focus()")
        label = page.run("return document.activeElement.getAttribute('aria-label')")
        self.bob.quid("pay", "alice", "0.02", "--memo", "more tea")
        page.wait("what came meanwhile", "#history-lines", "more tea")
        assert page.run("return document.activeElement.getAttribute('aria-label')") == label
        page.type("#history-search", "never heard of")
        page.wait("not found", "#history-state", "Nothing found")
        text, lines = page.run("return [await (await fetch('api/history.csv')).text(), await (await fetch('api/history.json')).json()]")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(lines) and any(row["memo"] == "for the tea" for row in rows)
        assert lines == self.alice.quid("history", "--limit", "1000"), "the export is what the command prints"

    def works_by_keyboard(self):
        page = self.page
        page.open(self.home + "#/history")
        page.open(self.home + "#/pay")
        page.wait("the form", "#pay-form", "To")
        assert page.run("return document.activeElement.id") == "pay-to"
        tab, enter = "\ue004", "\ue007"
        # To, two ways to scan and the picture's field, amount, memo.
        page.press("bob" + tab + tab + tab)
        for _ in range(6):
            if page.run("return document.activeElement.id") == "pay-amount":
                break
            page.press(tab)
        page.press("0.75" + tab + "by keys" + enter)
        page.wait("paid by keyboard", "#pay-outcome", "settled")
        assert page.run("return document.activeElement.id") == "pay-outcome", "the end is read aloud"
        named = page.run("""return [...document.querySelectorAll('input, select, textarea, button, a[href]')]
          .filter((it) => !(it.labels?.length || it.getAttribute('aria-label') || it.textContent.trim())).map((it) => it.id)""")
        assert named == [], f"without a name for a screen reader: {named}"

    def says_that_it_needs_scripts(self):
        plain = Browser(self.driver, scripts=False)
        plain.open(self.link)
        # The link leads on to the page by itself; without scripts this is all that can be asked.
        plain.wait_until("the page without scripts", lambda: plain.url() == self.home and plain.finds("noscript"))
        source = plain.call("GET", f"/element/{plain.find('noscript')}/text")
        plain.close()
        assert "needs scripts" in source, source

    def names_a_port_in_use(self):
        port = self.home.split(":")[2].split("/")[0]
        for listen, code, part in [(f"127.0.0.1:{port}", 1, "choose another port"), ("0.0.0.0:0", 2, "this machine only")]:
            done = self.bob.try_quid("wallet", "--no-open", "--listen", listen)
            assert done.returncode == code and part in done.stderr, done
            assert len(done.stderr.splitlines()) == 1, done.stderr
        held = self.alice.try_quid("wallet", "--no-open")
        assert held.returncode == 7 and len(held.stderr.splitlines()) == 1, held

    def looks_well(self):
        page = self.page
        self.alice.quid("request", "3.5", "--memo", "a ticket")
        (own,) = self.alice.quid("tab", "open", "bob", "--unit", "0.01", "--units", "100")
        self.alice.quid("tab", "pay", own["tab"], "40")
        for name, width, height, dark, scale in [("desktop", 1200, 900, False, 1), ("desktop-dark", 1200, 900, True, 1),
                                                 ("phone", 360, 780, False, 2), ("phone-dark", 360, 780, True, 2)]:
            page.look(width, height, dark, scale)
            for view, css, part in [("home", "#curve-text", "at most"), ("pay", "#pay-form", "To"), ("ask", "#ask-form", "Good for"),
                                    ("tab", "#tab-form", "Units"),
                                    ("history", "#history-lines", "bob"), (f"receipt/{self.tea}", "#receipt-verdict", "Verified")]:
                page.open(self.home + "#/" + view)
                page.wait(view, css, part)
                wide = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, f"{view} is {wide} pixels wider than a {name}"
                page.picture(PICTURES / f"{name}-{view.split('/')[0]}.png")
            page.open(self.home + "#/ask")
            page.wait("the request", "#asked", "open")
            gap = page.run("""const it = [...document.querySelectorAll('#asked li')]
                .find((it) => it.textContent.includes('open')).querySelector('button'); it.focus();
              const bar = document.getElementById('ways').getBoundingClientRect();
              return bar.top > innerHeight / 2 ? bar.top - it.getBoundingClientRect().bottom : 0;""")
            assert gap >= 0, f"what has the focus is {-gap} pixels behind the bar of a {name}"
            page.press("\ue007")
            page.wait("the request", "#ask-link", "quid://")
            page.picture(PICTURES / f"{name}-request.png")
            page.click("#ask-kind option[value=tab]")
            self.ask_and_open(name)

    def ask_and_open(self, name):
        """Looks at what is asked of a tab before it is there."""
        page = self.page
        page.type("#ask-amount", "0.001")
        page.type("#ask-units", "500")
        page.wait("what they are worth", "#ask-worth", "0.500000")
        page.picture(PICTURES / f"{name}-ask-tab.png")
        page.open(self.home + "#/tab")
        self.size("bob", "0.01", "250")
        page.wait("what is at risk", "#tab-risk", "2.500000")
        page.picture(PICTURES / f"{name}-tab-filled.png")

    def complains_of_nothing(self):
        # The directory was away for a while, which answers say in their own way.
        told = [line for line in self.page.complaints() if "413" not in line]
        assert told == [], told

    # --- what scenes are made of

    def fill(self, to, amount, memo):
        page = self.page
        page.open(self.home + "#/history")
        page.open(self.home + "#/pay")
        page.wait("the form", "#pay-form", "Amount")
        page.type("#pay-to", to)
        page.type("#pay-amount", amount)
        page.type("#pay-memo", memo)

    def snap(self, name):
        self.page.picture(PICTURES / f"scene-{name}.png")

    def stopped(self):
        """How often the wallet has let somebody not in."""
        return (self.world.folder / "alice.log").read_text().count("was not let into the wallet")

    def came(self, memo):
        return [line for line in self.bob.quid("history", "--limit", "1000") if line["memo"] == memo]

    def balance(self):
        return int(self.alice.quid("status")[0]["balance"].replace(".", ""))

    @staticmethod
    def altered(text):
        lines = text.splitlines()
        line = lines[2]
        lines[2] = ("B" if line[5] != "B" else "C").join([line[:5], line[6:]])
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
