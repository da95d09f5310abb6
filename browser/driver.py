"""A browser that is driven by WebDriver (https://www.w3.org/TR/webdriver2/): as much of it as the
wallet's test needs."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
WAIT_S = 15


class Driver:
    """One run of chromedriver, which starts browsers."""

    def __init__(self):
        self.browsers = []
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.process.stdout:
            if "started successfully on port" in line:
                self.url = f"http://127.0.0.1:{line.rstrip().rstrip('.').split()[-1]}"
                return
        raise SystemExit("chromedriver did not start")

    def close(self):
        # A browser whose session is not ended outlives the one that started it.
        for browser in list(self.browsers):
            try:
                browser.close()
            except (AssertionError, OSError) as error:
                print(f"a browser did not close: {error}", file=sys.stderr)
        self.process.terminate()
        self.process.wait()


class Browser:
    """A headless browser with a profile of its own."""

    def __init__(self, driver, camera=None, scripts=True):
        arguments = ["--headless=new", "--disable-gpu", "--window-size=1200,900", "--lang=en-GB",
                     "--force-prefers-reduced-motion", "--no-first-run", "--disable-dev-shm-usage"]
        if os.geteuid() == 0:
            # Chromium's own sandbox does not run as root; this one sees loopback only.
            arguments.append("--no-sandbox")
        if camera:
            arguments += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                          f"--use-file-for-fake-video-capture={camera}"]
        options = {"args": arguments}
        if not scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        self.base = driver.url
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = self.call("POST", "/session", {"capabilities": capabilities})
        self.base = f"{driver.url}/session/{session['sessionId']}"
        self.driver = driver
        driver.browsers.append(self)
        self.call("POST", "/timeouts", {"script": 40_000})

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"]
            raise AssertionError(f"{method} {path}: {told['error']}: {told['message'].splitlines()[0]}") from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def url(self):
        return self.call("GET", "/url")

    def run(self, script, *arguments):
        """What an (async) function body returns in the page."""
        body = ("const done = arguments[arguments.length - 1]; (async () => {" + script
                + "})().then(value => done({value}), error => done({error: String(error)}))")
        told = self.call("POST", "/execute/async", {"script": body, "args": list(arguments)})
        assert "error" not in told, told["error"]
        return told.get("value")

    def find(self, css):
        return self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def finds(self, css):
        return self.call("POST", "/elements", {"using": "css selector", "value": css}) != []

    def type(self, css, text):
        """Types into a field what stands there instead of what did."""
        element = self.find(css)
        self.call("POST", f"/element/{element}/clear", {})
        self.call("POST", f"/element/{element}/value", {"text": text})

    def choose_file(self, css, path):
        self.call("POST", f"/element/{self.find(css)}/value", {"text": str(path)})

    def click(self, css):
        self.call("POST", f"/element/{self.find(css)}/click", {})

    def press(self, keys):
        pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": pressed}]})

    def text(self, css):
        """What a person sees there."""
        # At once, so that a page which is just being left takes no answer with it.
        script = "const it = document.querySelector(arguments[0]); return it?.checkVisibility() ? it.innerText : ''"
        return self.call("POST", "/execute/sync", {"script": script, "args": [css]})

    def wait(self, what, css, part, within=WAIT_S):
        """Waits until `part` is seen there."""
        deadline = time.monotonic() + within
        while True:
            seen = self.text(css)
            if part in seen:
                return seen
            assert time.monotonic() < deadline, f"{what}: {part!r} is not in {css}, where this is: {seen!r}"
            time.sleep(0.05)

    def wait_until(self, what, true, within=WAIT_S):
        """Waits until `true()`, and gives what it was."""
        deadline = time.monotonic() + within
        while not (now := true()):
            assert time.monotonic() < deadline, what
            time.sleep(0.05)
        return now

    def new_tab(self):
        handle = self.call("POST", "/window/new", {"type": "tab"})["handle"]
        self.call("POST", "/window", {"handle": handle})
        return handle

    def close_tab(self):
        """Closes this tab and goes to another."""
        handles = self.call("DELETE", "/window")
        self.call("POST", "/window", {"handle": handles[-1]})

    def develop(self, command, **parameters):
        """A command of the browser's own development tools."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width, height, dark, scale=1):
        """Looks as on a screen of this size and colour."""
        self.develop("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=scale, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.develop("Emulation.setEmulatedMedia", features=[scheme, calm])

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def complaints(self):
        """What the page's console says is wrong."""
        return [line["message"] for line in self.call("POST", "/se/log", {"type": "browser"})
                if line["level"] == "SEVERE"]

    def close(self):
        self.driver.browsers.remove(self)
        self.call("DELETE", "")


def play(world, scenes):
    """Plays all scenes that `scenes(world, driver)` has, and says when each was over."""
    driver = Driver()
    try:
        stage = scenes(world, driver)
        begun = time.monotonic()
        for scene in stage.all():
            scene()
            print(f"{time.monotonic() - begun:6.1f} s  {scene.__name__.replace('_', ' ')}", flush=True)
        stage.page.close()
    finally:
        driver.close()
        world.close()
