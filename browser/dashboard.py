#!/usr/bin/env python3
"""Looks at the operator's dashboard in headless Chromium, of a real directory that settles payments.

Needs and leaves the same as wallet.py. Ends with 0 if all is as it should be.
"""

import re
import time

from driver import Browser, play
from world import PICTURES, World

NAMES = ["zarathustra", "quetzalcoatl"]


def main():
    PICTURES.mkdir(parents=True, exist_ok=True)
    play(World("--metrics", "127.0.0.1:0"), Scenes)


class Scenes:
    def __init__(self, world, driver):
        self.world, self.driver = world, driver
        self.payer, self.payee = (world.home(name) for name in NAMES)
        for home, name in zip((self.payer, self.payee), NAMES):
            home.quid("register", name)
        self.payee.stay("listen")
        log = (world.folder / "directory.log").read_text()
        self.address = re.search(r"metrics=(\S+)", log)[1]
        self.home = f"http://{self.address}/"
        self.page = Browser(driver)
        self.page.look(1200, 1500, dark=False)

    def all(self):
        return [self.says_how_things_stand, self.draws_what_happens, self.says_what_was_refused,
                self.names_nobody, self.can_be_read_back_by_keys, self.looks_well, self.needs_no_scripts,
                self.complains_of_nothing, self.says_that_it_is_lost]

    # --- scenes

    def says_how_things_stand(self):
        page = self.page
        page.open(self.home)
        page.wait("its state", "#state", "Settling")
        page.wait("the books", "#agree", "They agree.")
        for name, text in [("issued", "200.000000"), ("burnt", "0.000000"), ("outside", "200.000000"),
                           ("owned", "200.000000"), ("accounts", "2"), ("online", "1")]:
            self.shown(name, text)
        assert page.text("#trouble") == "" and page.text("#lost") == ""

    def draws_what_happens(self):
        page = self.page
        before = int(self.shown("entries"))
        for turn in range(30):
            self.payer.quid("pay", NAMES[1], "0.01", "--memo", f"secret {turn}")
            if turn >= 5 and (self.label("payments") or ["0"])[0] != "0":
                break
        # Live, without a new start of the page.
        page.wait_until("it counts", lambda: int(self.shown("entries")) == before + turn + 1)
        assert float(self.label("payments")[0]) > 0, "the chart has seen them"
        assert float(self.label("latency")[0]) > 0, "and how long they took"
        page.wait_until("four lines of more than a point", lambda: page.run(
            "return [...document.querySelectorAll('.l1')].filter((it) => it.getAttribute('d')?.includes('L')).length") == 4)

    def says_what_was_refused(self):
        assert "None since the start" in self.page.text("#refused")
        self.world.home("other").try_quid("register", NAMES[0])
        seen = self.page.wait("the reason", "#refused", "name taken")
        assert "last quarter hour" in seen and re.search(r"name taken\s+1\s+1", seen), seen
        assert "None since the start" in self.page.text("#shed")

    def names_nobody(self):
        seen = self.page.run("return document.documentElement.outerHTML")
        for path in ["numbers.json", "metrics"]:
            seen += self.page.run("return (await fetch(arguments[0])).text()", path)
        keys = [home.quid("status")[0]["key"] for home in (self.payer, self.payee)]
        for secret in [*NAMES, *keys, *(key[:8] for key in keys), "secret "]:
            assert secret not in seen, f"{secret} is on the dashboard"

    def can_be_read_back_by_keys(self):
        page, left = self.page, "\ue012"
        assert page.run("document.querySelector('[data-chart=payments] svg').focus(); return document.activeElement.tagName") == "svg"
        page.press(left + left)
        page.wait("two samples back", "[data-chart=payments] .times", "ago: ")
        unnamed = page.run("return [...document.querySelectorAll('[role=img], a, pre')]"
                           ".filter((it) => !it.getAttribute('aria-label') && !it.textContent.trim()).length")
        assert unnamed == 0, "all has a name for a screen reader"
        page.run("document.activeElement.blur()")

    def looks_well(self):
        page = self.page
        for name, width, height, dark, scale in [("desktop", 1200, 1500, False, 1), ("desktop-dark", 1200, 1500, True, 1),
                                                 ("phone", 360, 2400, False, 1), ("phone-dark", 360, 2400, True, 1)]:
            page.look(width, height, dark, scale)
            page.wait("its state", "#state", "Settling")
            wide = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"it is {wide} pixels wider than a {name}"
            paper = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            assert (sum(paper) < 3 * 64) == dark, f"{name}: {paper}"
            page.picture(PICTURES / f"dashboard-{name}.png")
        page.look(1200, 1500, dark=False)

    def needs_no_scripts(self):
        plain = Browser(self.driver, scripts=False)
        plain.open(self.home)
        source = plain.call("GET", "/source")
        assert "They agree." in source and "Settling" in source and "200.000000" in source
        shown = plain.call("GET", f"/element/{plain.find('noscript p')}/text")
        assert "Scripts are off" in shown, shown
        plain.close()

    def complains_of_nothing(self):
        told = self.page.complaints()
        assert told == [], told

    def says_that_it_is_lost(self):
        page = self.page
        place = self.world.address.rsplit("@")[-1]
        self.world.kill(self.world.directory)
        page.wait("it is lost", "#state", "Lost")
        said = page.wait("it says so", "#lost", "has not answered since")
        assert "is from then" in said, said
        self.shown("issued", "200.000000")
        page.picture(PICTURES / "dashboard-lost.png")
        self.world.settings = ("--metrics", self.address)
        self.world.serve(place)
        page.wait("it is back", "#state", "Settling")
        assert page.text("#lost") == ""
        page.wait("the books", "#agree", "They agree.")

    # --- what scenes are made of

    def shown(self, name, text=""):
        """What is seen as that number, in which is `text`, without its narrow spaces."""
        seen = self.page.wait(name, f"[data-n={name}]", text)
        return seen.replace("\u202f", "")

    def label(self, chart):
        """The highest number of a chart, as a screen reader says it; empty before it is drawn."""
        label = self.page.run("return document.querySelector(arguments[0]).getAttribute('aria-label') ?? ''",
                              f"[data-chart={chart}] svg")
        return re.findall(r"Highest: ([\d.]*\d)", label.replace("\u202f", ""))


if __name__ == "__main__":
    main()
