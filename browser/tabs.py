"""Tabs on the page: opened by a form or a link, asked for, shown as programs pay on them, closed."""

import signal

FIVE = """
  const intent = (await ask("api/intent", {})).item;
  const wish = { intent, payee: "bob", unit: "0.001", units: "50", life: "1h" };
  return Promise.all([1, 2, 3, 4, 5].map(() => ask("api/open-tab", wish)));"""


class Tabs:
    def opens_a_tab(self):
        page, before = self.page, self.balance()
        page.open(self.home)
        page.wait("no tab", "#tabs-none", "None")
        page.click("#tabs-card a.button")
        page.wait("the form", "#tab-form", "Price of a unit")
        assert page.run("return document.activeElement.id") == "tab-payee"
        assert "bob" in page.run("return [...document.getElementById('tab-payee').list.options].map((it) => it.value)")
        self.size("bob", "0.01", "100")
        page.wait("what is at risk", "#tab-risk", "at most 1.000000")
        page.run("const button = document.getElementById('tab-button'); button.click(); button.click();"
                 "document.getElementById('tab-form').requestSubmit();")
        page.wait("the tab", "#tab-outcome", "open")
        said = page.wait("its meter", "#tab-outcome", "0 of 100 units")
        self.snap("tab-open")
        (tab,) = self.alice.quid("tab", "list")
        assert tab["tab"] in said and tab["paid"] == 0, "two clicks open one, and pay nothing on it"
        assert self.balance() == before - 1_000_000, "what is held is not spent and cannot be"
        self.alice.quid("tab", "pay", tab["tab"], "30")
        page.wait("the meter moves", "#tab-outcome", "30 of 100 units")
        page.click("#tab-outcome .rows button")
        said = page.wait("its end", "#tab-outcome", "over: 30 of 100 units were paid")
        assert "0.300000" in said, said
        self.snap("tab-over")
        page.open(self.home)
        page.wait("its end stays to be seen", "#ended", "30 of 100 units")
        page.wait("the hold is back", "#held", "Nothing is held")
        assert self.balance() == before - 300_000
        told = page.run(self.ASK + FIVE)
        (tab,) = {answer["item"]["tab"] for answer in told}
        assert all(answer["item"]["state"] == "open" for answer in told), told
        self.alice.quid("tab", "close", tab)

    def puts_right_what_is_wrong_with_a_tab(self):
        page = self.page
        for payee, unit, units, place, part in [
                ("Bo b", "1", "1", "#tab-payee-error", "name"), ("bob", "0", "1", "#tab-unit-error", "zero"),
                ("bob", "0.1", "many", "#tab-units-error", "1048576"), ("bob", "9000000000", "1000000", "#tab-units-error", "shorter"),
                ("nobody", "1", "1", "#tab-outcome", "refused"), ("bob", "1", "100000", "#tab-outcome", "Wallet")]:
            page.open(self.home + "#/history")
            page.open(self.home + "#/tab")
            self.size(payee, unit, units)
            page.click("#tab-button")
            said = page.wait(f"{payee} {unit} {units}", place, part)
            assert "`" not in said and "quid " not in said, said
            page.wait("the form is there to be put right", "#tab-form", "To")
        assert "nothing was paid" in page.text("#tab-outcome"), page.text("#tab-outcome")
        self.snap("tab-refused")
        self.size("bob", "0.001", "10")
        page.click("#tab-button")
        page.wait("the same form, put right", "#tab-outcome", "0 of 10 units")
        page.click("#tab-outcome .rows button")
        page.wait("its end", "#tab-outcome", "over")

    def finds_a_tab_that_was_opened_while_the_page_was_closed(self):
        page = self.page
        page.open(self.home + "#/history")
        page.open(self.home + "#/tab/bob")
        self.size("bob", "0.002", "20")
        self.world.directory.send_signal(signal.SIGSTOP)
        page.click("#tab-button")
        page.wait("the middle", "#tab-outcome", "asking")
        page.new_tab()
        page.call("POST", "/window", {"handle": page.call("GET", "/window/handles")[0]})
        page.close_tab()
        self.world.directory.send_signal(signal.SIGCONT)
        page.open(self.home)
        page.wait("a new page shows it", "#tabs", "0 of 20 units", within=30)
        page.click("#tabs button")
        page.wait("it is closed", "#told", "Closed. 0.040000")

    def shows_tabs(self):
        page = self.page
        (tab,) = [line for line in self.bob.quid("tab", "open", "alice", "--unit", "0.001", "--units", "1000") if "tab" in line]
        self.bob.quid("tab", "pay", tab["tab"], "400")
        (own,) = self.alice.quid("tab", "open", "bob", "--unit", "0.01", "--units", "100")
        self.alice.quid("tab", "pay", own["tab"], "25")
        page.open(self.home + "#/home")
        page.wait("a tab that pays us", "#tabs", "400 of 1000 units")
        assert page.text("#tabs-none") == ""
        page.wait("a tab that we pay", "#tabs", "25 of 100 units")
        page.wait("what is held", "#held", "held for a tab")
        page.run("document.querySelector('#tabs button').focus()")
        self.bob.quid("tab", "pay", tab["tab"], "500")
        page.wait("the meter moves", "#tabs", "900 of 1000 units")
        assert page.run("return document.activeElement.textContent") == "Close this tab", "the focus stays where it is"
        assert sorted(page.run("return [...document.querySelectorAll('meter')].map((it) => it.value)")) == [25, 900]
        self.snap("tabs")
        page.click("#tabs button")
        page.wait("the hold is back", "#held", "Nothing is held")
        self.bob.quid("tab", "close", tab["tab"])
        page.wait("none is open", "#tabs-none", "None")
        assert page.text("#tabs") == "", "tabs that are over are gone"

    def opens_a_tab_by_its_link(self):
        page = self.page
        (asked,) = self.bob.quid("request", "--tab", "--unit", "0.001", "--units", "500", "--memo", "pages")
        for part in ["0 of 500 units", "had opened this tab"]:
            page.open(self.home + "#/history")
            page.open(self.home + "#/pay")
            page.type("#pay-to", asked["link"])
            page.wait("what is asked", "#pay-asked", "a tab of 500 units of 0.001 QUID")
            assert page.text("#pay-button") == "Open the tab" and page.text("#pay-amount-row") == ""
            self.snap("tab-link")
            page.click("#pay-button")
            page.wait("the tab", "#pay-outcome", part)
        assert len(self.alice.quid("tab", "list")) == 1, "a link of which there is one tab"
        page.click("#pay-outcome .rows button")
        page.wait("its end", "#pay-outcome", "over")
        # Once it is over, the link says so, and nothing is opened or paid.
        page.click("#pay-outcome .actions > button")
        page.type("#pay-to", asked["link"])
        page.wait("what is asked", "#pay-asked", "already")
        page.click("#pay-button")
        page.wait("no other", "#pay-outcome", "is over")
        page.type("#pay-to", "bob")
        page.type("#pay-amount", "0.01")
        page.click("#pay-button")
        page.wait("a payment after it", "#pay-outcome", "settled")

    def asks_for_a_tab(self):
        page = self.page
        page.open(self.home + "#/history")
        page.open(self.home + "#/ask")
        page.click("#ask-kind option[value=tab]")
        page.type("#ask-memo", "words")
        page.type("#ask-units", "2000")
        page.click("#ask-form button.main")
        page.wait("without a price", "#ask-amount-error", "price")
        page.type("#ask-amount", "0.0005")
        page.wait("what they are worth", "#ask-worth", "1.000000")
        page.click("#ask-form button.main")
        link = page.wait("the request", "#ask-link", "quid://")
        assert page.run("""const code = document.querySelector('#ask-made img'); await code.decode();
                           return code.naturalWidth""") > 0
        self.snap("tab-request")
        opened = self.bob.quid("pay", link.strip(), "--yes")[-1]
        page.wait("opened before our eyes", "#ask-made", "A tab has been opened for it")
        page.wait("it is among the requests", "#asked", "2000 units")
        page.open(self.home)
        page.wait("it pays us", "#tabs", "0 of 2000 units")
        assert page.text("#tabs button") == "", "who is paid has nothing to close"
        self.bob.quid("tab", "close", opened["tab"])
        page.wait("it is over", "#tabs-none", "None")

    def size(self, payee, unit, units):
        self.page.wait("the form", "#tab-form", "To")
        for field, text in [("payee", payee), ("unit", unit), ("units", units)]:
            self.page.type(f"#tab-{field}", text)
