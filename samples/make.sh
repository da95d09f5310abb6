#!/usr/bin/env bash
# Makes a sample of what the programs in BIN write: samples/NAME, a directory and two homes after
# some payments. Samples are kept for ever and never made again: a test opens each.
set -euo pipefail
[ $# = 2 ] || { echo "usage: samples/make.sh NAME BIN" >&2; exit 2; }
PLACE=$(cd "$(dirname "$0")" && pwd)/$1
QUID=$2/quid QUID_DIRECTORY=$2/quid-directory
[ ! -e "$PLACE" ] || { echo "$PLACE is there: samples are not made again" >&2; exit 1; }
WORK=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; wait; rm -rf "$WORK"' EXIT

serve() { # serve [FLAGS...]
  : >"$WORK/address"
  "$QUID_DIRECTORY" serve --data "$WORK/directory" --listen "${LISTEN:-127.0.0.1:0}" "$@" \
    >"$WORK/address" 2>"$WORK/log" &
  SERVING=$!
  for _ in $(seq 200); do [ -s "$WORK/address" ] && break; sleep 0.05; done
  ADDRESS=$(cat "$WORK/address")
  LISTEN=${ADDRESS##*@}
}
stop() { kill "$SERVING"; wait "$SERVING" || true; }
alice() { "$QUID" --home "$WORK/alice" "$@"; }
bob() { "$QUID" --home "$WORK/bob" "$@"; }

serve --opening-balance 100
for name in alice bob; do
  "$QUID" --home "$WORK/$name" init --directory "$ADDRESS"
  "$QUID" --home "$WORK/$name" register "$name"
done
"$QUID_DIRECTORY" issue alice 25 --data "$WORK/directory"
alice pay bob 1.5 --memo 'for the tea'
bob pay alice 0.25
alice pay treasury 3
alice pay bob 1000 || true
"$QUID_DIRECTORY" freeze bob --data "$WORK/directory"
bob pay alice 1 || true
"$QUID_DIRECTORY" thaw bob --data "$WORK/directory"
ORDER=$(alice --json history --limit 1 | sed -n 's/.*"order":"\([^"]*\)".*/\1/p')
if "$QUID" help 2>&1 | grep -q '^ *tab '; then
  "$QUID" --home "$WORK/bob" listen >"$WORK/listen" 2>&1 &
  LISTENING=$!
  for _ in $(seq 200); do grep -q online "$WORK/listen" && break; sleep 0.05; done
  TAB=$(alice --json tab open bob --unit 0.000001 --units 5000 | sed -n 's/.*"tab":"\([^"]*\)".*/\1/p')
  alice tab pay "$TAB" 300
  alice tab close "$TAB"
  alice pay bob 2 --memo directly
  alice tab open bob --unit 0.000002 --units 1000 --expires 24h
  if "$QUID" help 2>&1 | grep -q '^ *requests '; then
    alice pay "$(bob request 0.75 --memo 'for the cake')" --yes
    bob request --open --expires 366d >/dev/null
  fi
  kill "$LISTENING"; wait "$LISTENING" || true
fi
alice receipt show "$ORDER" --out "$WORK/receipt.txt" >/dev/null
stop
# A killed one leaves its write-ahead log.
serve
"$QUID_DIRECTORY" issue bob 0.5 --data "$WORK/directory"
alice status >/dev/null; bob status >/dev/null
status() { "$QUID" --home "$WORK/$1" --json status | tail -1; }
ALICE=$(status alice) BOB=$(status bob)
PAST=$(alice --json history --limit 500 | wc -l)
if "$QUID_DIRECTORY" help backup >/dev/null 2>&1; then
  "$QUID_DIRECTORY" backup "$WORK/backup.quid" --data "$WORK/directory" >/dev/null
fi
kill -9 "$SERVING"; wait "$SERVING" 2>/dev/null || true
mkdir "$PLACE"
cp -r "$WORK/directory" "$WORK/alice" "$WORK/bob" "$PLACE/"
cp "$WORK/receipt.txt" "$PLACE/"
[ ! -e "$WORK/backup.quid" ] || cp "$WORK/backup.quid" "$PLACE/"
find "$PLACE" \( -name '*.sock' -o -name lock -o -name '*.lock' -o -name '*-shm' \) -delete
find "$PLACE" -type d -name run -exec rm -r {} +
AUDIT=$("$QUID_DIRECTORY" audit --json --data "$WORK/directory")
python3 - "$ALICE" "$BOB" "$PAST" "$AUDIT" "$ORDER" >"$PLACE/expect.json" <<'PYTHON'
import json, sys
alice, bob, past, audit, order = sys.argv[1:]
keep = lambda text, names: {n: v for n, v in json.loads(text).items() if n in names}
print(json.dumps({
    "audit": keep(audit, ["entries", "accounts", "issued", "burnt", "available", "held", "ledger", "checkpoint"]),
    "alice": keep(alice, ["name", "balance", "held", "key", "ledger"]),
    "bob": keep(bob, ["name", "balance", "held", "key", "ledger"]),
    "alice_history": int(past),
    "order": order,
}, indent=1))
PYTHON
du -sh "$PLACE"
