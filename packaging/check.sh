#!/usr/bin/env bash
# Checks the units: that systemd takes them, that they expose little, and that every system call which
# the programs in BIN make on a round of real work is one that the unit lets through.
set -euo pipefail
BIN=$(cd "${1:-$(dirname "$0")/../target/debug}" && pwd)
cd "$(dirname "$0")"
WORK=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; wait 2>/dev/null; rm -rf "$WORK"' EXIT

# With the real program in the place of the one that is installed.
mkdir "$WORK/units"
for unit in *.service *.timer; do
  sed "s#/usr/local/bin/quid-directory#$BIN/quid-directory#" "$unit" >"$WORK/units/$unit"
done
said=$(systemd-analyze verify --man=no "$WORK"/units/* 2>&1) || true
if grep -q quid-directory <<<"$said"; then
  echo "$said" >&2
  exit 1
fi
exposure() { # exposure UNIT MOST: in tenths
  systemd-analyze security --offline=true --no-pager --threshold="$2" "$1" >"$WORK/security" || {
    cat "$WORK/security" >&2
    exit 1
  }
  tail -1 "$WORK/security"
}
exposure quid-directory.service 15
exposure quid-directory-backup.service 10

# A round of work: begin, pay, read the numbers, back up beside it, be killed, begin again, stop.
trace() { strace -f -qq -o "$WORK/trace.$1" "${@:2}"; }
serve() { # serve NUMBER
  rm -f "$WORK/address"
  trace "$1" "$BIN/quid-directory" serve --data "$WORK/data" --listen 127.0.0.1:0 --metrics 0 \
    --opening-balance 10 >"$WORK/address" 2>"$WORK/log.$1" &
  for _ in $(seq 400); do [ -s "$WORK/address" ] && return; sleep 0.05; done
  cat "$WORK/log.$1" >&2
  exit 1
}
serving() { pgrep -f "^$BIN/quid-directory serve --data $WORK/data" | head -1; }
serve 1
for name in alice bob; do
  "$BIN/quid" --home "$WORK/$name" init --directory "$(cat "$WORK/address")" >/dev/null
  "$BIN/quid" --home "$WORK/$name" register "$name" >/dev/null
done
"$BIN/quid" --home "$WORK/alice" pay bob 1 >/dev/null
tab=$("$BIN/quid" --home "$WORK/alice" --json tab open bob --unit 0.000001 --units 50000 |
  sed -n 's/.*"tab":"\([^"]*\)".*/\1/p')
"$BIN/quid" --home "$WORK/alice" tab close "$tab" >/dev/null 2>&1 || true
"$BIN/quid" --home "$WORK/bob" history >/dev/null
metrics=$(sed -n 's/.*metrics=//p' "$WORK/log.1")
python3 -c 'import sys, urllib.request as u
for page in ("metrics", "healthz"): u.urlopen(f"http://{sys.argv[1]}/{page}").read()' "$metrics"
trace backup "$BIN/quid-directory" backup "$WORK/backup" --data "$WORK/data" >/dev/null
kill -9 "$(serving)"
wait
serve 2
kill "$(serving)"
wait

python3 - "$WORK" <<'PYTHON'
import pathlib, re, subprocess, sys
work = pathlib.Path(sys.argv[1])
groups, current = {}, None
for line in subprocess.check_output(["systemd-analyze", "syscall-filter", "--no-pager"], text=True).splitlines():
    if line.startswith("@"):
        current = groups.setdefault(line.strip(), set())
    elif current is not None and line.strip() and not line.strip().startswith("#"):
        current.add(line.strip())
def calls(name, seen=()):
    if not name.startswith("@"):
        return {name}
    return set().union(*(calls(it, (*seen, name)) for it in groups[name] if it not in seen))
def allowed(unit):
    found = set()
    for line in pathlib.Path(unit).read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            value = line.split("=", 1)[1]
            named = set().union(*(calls(it) for it in value.lstrip("~").split()))
            found = found - named if value.startswith("~") else found | named
    return found
def used(*traces):
    text = "".join((work / f"trace.{it}").read_text() for it in traces)
    return set(re.findall(r"^\d+ +(\w+)\(", text, re.M))
for unit, traces in [("quid-directory.service", ["1", "2"]), ("quid-directory-backup.service", ["backup"])]:
    made = used(*traces)
    # The trace begins with execve. SQLite calls fchown only as root, which the service is not.
    refused = made - allowed(unit) - {"execve", "fchown"}
    assert len(made) > 20, made
    if refused:
        sys.exit(f"{unit} forbids what the program does: {', '.join(sorted(refused))}")
    print(f"{unit}: lets all {len(made)} kinds of system calls through that the program makes")
PYTHON
