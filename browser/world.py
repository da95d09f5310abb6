"""A directory, homes and wallets: the real programs, on ports of their own, in a folder that goes away."""

import json
import os
import pathlib
import signal
import struct
import subprocess
import tempfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = pathlib.Path(os.environ.get("QUID_PROGRAMS", ROOT / "target" / "debug"))
PICTURES = pathlib.Path(os.environ.get("QUID_SCREENSHOTS", ROOT / "target" / "screenshots"))


class World:
    def __init__(self, *settings):
        """With a directory that serves with these settings."""
        self.settings = settings
        self.temporary = tempfile.TemporaryDirectory(prefix="quid-browser-")
        self.folder = pathlib.Path(self.temporary.name)
        self.running = []
        self.directory = None
        self.address = None
        self.serve("127.0.0.1:0")

    def serve(self, listen):
        command = ["quid-directory", "serve", "--data", self.folder / "data", "--listen", listen,
                   "--opening-balance", "100", *self.settings]
        self.directory, self.address = self.start(command, "directory.log")

    def operate(self, *arguments):
        """What a command of the directory's operator prints, which must succeed."""
        done = subprocess.run([PROGRAMS / "quid-directory", *arguments, "--data", self.folder / "data"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def start(self, command, log):
        """Starts a program that stays; its first line."""
        command = [PROGRAMS / command[0], *command[1:]]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        with open(self.folder / log, "ab") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
        self.running.append(process)
        line = process.stdout.readline().strip()
        assert line, f"{command[1]} said nothing: {(self.folder / log).read_text()}"
        return process, line

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        self.running.remove(process)

    def kill(self, process):
        process.kill()
        process.wait(timeout=10)
        self.running.remove(process)

    def home(self, name):
        home = Home(self, name)
        home.quid("init", "--directory", self.address)
        return home

    def close(self):
        for process in self.running:
            # One that was frozen hears nothing else.
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.temporary.cleanup()


class Home:
    def __init__(self, world, name):
        self.world = world
        self.path = world.folder / name

    def try_quid(self, *arguments):
        command = [PROGRAMS / "quid", "--home", self.path, "--json", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/bin:/bin", "HOME": str(self.world.folder)})

    def quid(self, *arguments):
        """The lines of JSON that a command prints, which must succeed."""
        done = self.try_quid(*arguments)
        assert done.returncode == 0, f"quid {arguments}: {done.stdout}{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stay(self, *arguments):
        """Starts a command that stays; its first line of JSON."""
        command = ["quid", "--home", self.path, "--json", *arguments]
        process, line = self.world.start(command, f"{self.path.name}.log")
        return process, json.loads(line)


def pixels(png):
    """Rows of brightness of a PNG picture in grey, 8 bits deep."""
    data, at, packed = png.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 0), "grey, 8 bits"
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, rows, above = zlib.decompress(packed), [], bytes(width)
    for row in range(height):
        how = raw[row * (width + 1)]
        line = bytearray(raw[row * (width + 1) + 1:(row + 1) * (width + 1)])
        for x in range(width):
            left, up, corner = (line[x - 1] if x else 0), above[x], (above[x - 1] if x else 0)
            if how == 4:
                guess = left + up - corner
                beside = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            else:
                beside = (0, left, up, (left + up) // 2)[how]
            line[x] = (line[x] + beside) & 255
        rows.append(bytes(line))
        above = bytes(line)
    return rows


def video(png, path, width=640, height=480):
    """Writes a film (YUV4MPEG2) in which a camera sees the picture `png`."""
    rows = pixels(png)
    side = min(width, height) * 9 // 10
    left, top = (width - side) // 2, (height - side) // 2
    grey = bytearray(b"\xc8" * (width * height))
    for y in range(side):
        row = rows[y * len(rows) // side]
        line = bytes(max(16, row[x * len(row) // side] * 219 // 255 + 16) for x in range(side))
        start = (top + y) * width + left
        grey[start:start + side] = line
    frame = b"FRAME\n" + bytes(grey) + b"\x80" * (width * height // 2)
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode() + frame * 5)


def blank(path, side=200):
    """Writes a white picture."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\xff" * side) * side
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
