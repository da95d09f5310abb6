"""Trouble in the middle of a payment: nobody is shown an end that is none, and everybody the true one."""

import signal


class Trouble:
    def shows_a_payment_to_its_end_though_the_tab_was_closed(self):
        page = self.page
        self.world.directory.send_signal(signal.SIGSTOP)
        self.fill("bob", "0.6", "in the middle")
        page.click("#pay-button")
        page.wait("the middle", "#pay-outcome", "asking")
        self.snap("asking")
        page.new_tab()
        page.call("POST", "/window", {"handle": page.call("GET", "/window/handles")[0]})
        page.close_tab()
        page.open(self.home)
        page.wait("a new page knows", "#sent", "unknown, still asking")
        self.snap("unknown")
        self.world.directory.send_signal(signal.SIGCONT)
        page.wait("its end", "#sent li:first-child", "settled", within=40)
        assert len(self.came("in the middle")) == 1

    def lives_through_a_lost_directory(self):
        page = self.page
        place = self.world.address.rsplit("@")[-1]
        self.world.stop(self.world.directory)
        page.wait("it is away", "#connection", "directory away", within=30)
        page.wait("it says so", "#banner", "The directory is away")
        assert page.text("#balance") != "", "what was known is still shown"
        self.snap("away")
        self.fill("bob", "0.3", "nothing is sent")
        page.click("#pay-button")
        page.wait("nothing is sent", "#pay-error", "nothing was sent", within=30)
        self.world.serve(place)
        page.wait("it is back", "#connection", "online", within=30)
        self.fill("bob", "0.3", "after it came back")
        page.click("#pay-button")
        page.wait("it pays again", "#pay-outcome", "settled", within=30)

    def keeps_asking_a_directory_that_died_in_the_middle(self):
        page = self.page
        place = self.world.address.rsplit("@")[-1]
        self.fill("bob", "0.7", "who knows")
        # Frozen, it takes the order and answers nothing; then it is killed with it.
        self.world.directory.send_signal(signal.SIGSTOP)
        page.click("#pay-button")
        page.wait("the middle", "#pay-outcome", "asking")
        self.world.kill(self.world.directory)
        said = page.wait("nobody knows", "#pay-outcome", "unknown, still asking", within=40)
        page.click("#pay-outcome button")
        page.wait("it cannot be cancelled now", "#told", "cannot be reached", within=30)
        assert "unknown, still asking" in page.text("#pay-outcome"), "and so nothing is known"
        assert "do not pay again" in said and "refused" not in said and "Not paid" not in said, said
        page.wait("it is away", "#connection", "directory away", within=40)
        self.snap("unknown-away")
        self.world.serve(place)
        page.wait("it is back", "#connection", "online", within=40)
        # Whether the order got into the log before the end is chance; the page must say which, unasked.
        ends = {"Paid to bob. It is in the ledger": 1, "Cancelled: nothing was paid to bob": 0}
        end = page.wait_until("its end, with nothing clicked", lambda: [
            came for part, came in ends.items() if part in page.text("#pay-outcome")], within=40)
        assert len(self.came("who knows")) == end[0], page.text("#pay-outcome")

    def asks_about_a_payee_who_is_frozen(self):
        page = self.page
        # One that goes on in time: it has the order, and settles it.
        self.freeze_payee("goes on", "0.11")
        page.run("location.hash = '#/home'")
        page.wait("nobody knows", "#sent li:first-child", "goes on")
        page.wait("nobody knows", "#sent li:first-child", "unknown, still asking")
        self.snap("frozen-payee")
        self.bob_listens.send_signal(signal.SIGCONT)
        page.wait("its end", "#sent li:first-child", "settled")
        self.answered("Paid to bob")
        assert self.seen() <= {"asking", "unknown, still asking", "settled"}, self.seen()
        assert len(self.came("goes on")) == 1
        # One that does not: the node cancels the order, so that it can never settle behind our back.
        before = self.balance()
        self.freeze_payee("stays frozen", "0.12")
        page.wait("its end, with nothing clicked", "#pay-outcome", "Cancelled: nothing was paid to bob", within=30)
        assert self.seen() <= {"asking", "unknown, still asking", "cancelled"}, self.seen()
        self.bob_listens.send_signal(signal.SIGCONT)
        assert self.balance() == before - 10_000, "of both only the first settled"
        # And one that is cancelled by hand before that.
        self.freeze_payee("by hand", "0.13")
        page.run("location.hash = '#/home'")
        page.wait("nobody knows", "#sent li:first-child", "by hand")
        page.wait("nobody knows", "#sent li:first-child", "unknown, still asking")
        page.click("#sent li:first-child button")
        page.wait("it is said", "#told", "Cancelled: it can never settle")
        page.wait("its end", "#sent li:first-child", "cancelled")
        self.answered("Cancelled: nothing was paid to bob")
        assert "Refused" not in page.text("#told"), "what was cancelled was not refused"
        self.snap("cancelled")
        self.bob_listens.send_signal(signal.SIGCONT)
        # What comes after it shows that bob goes on, and that nothing came of what was cancelled.
        self.pay_now("after all that")
        page.wait("it goes on", "#pay-outcome", "settled", within=30)
        assert self.came("stays frozen") == self.came("by hand") == []
        assert self.balance() == before - 30_000

    def answered(self, part):
        """Waits until the card of the payment, which stands in another view, says so too."""
        page = self.page
        page.wait_until(f"{part} in the card", lambda: part in page.run(
            "return document.getElementById('pay-outcome').textContent"), within=30)

    def freeze_payee(self, memo, amount):
        """Pays bob, who has been paid just before and has the order in his hands when he freezes."""
        page = self.page
        self.pay_now(f"before {memo}")
        page.wait("they are connected", "#pay-outcome", "directly", within=30)
        self.fill("bob", amount, memo)
        page.run("""const [memo] = arguments; globalThis.seen = new Set();
          new MutationObserver(() => document.querySelectorAll("#pay-outcome .chip, #sent li:first-child .chip").forEach((chip) => {
            const row = chip.closest("li");
            if (chip.checkVisibility() && (!row || row.textContent.includes(memo))) seen.add(chip.textContent); }))
            .observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true });""", memo)
        self.bob_listens.send_signal(signal.SIGSTOP)
        page.click("#pay-button")
        page.wait("the middle", "#pay-outcome", "asking")

    def pay_now(self, memo):
        self.fill("bob", "0.01", memo)
        self.page.click("#pay-button")

    def seen(self):
        """Every word that the page has said about the payment since it was sent."""
        return set(self.page.run("return [...seen]"))
