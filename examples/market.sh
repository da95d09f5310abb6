#!/usr/bin/env bash
# Ten nodes pay each other at random for some seconds; then the audit proves that no unit appeared
# or vanished. QUID_SECONDS sets how long (default 5).
. "$(dirname "$0")/lib.sh"
SECONDS_TO_RUN=${QUID_SECONDS:-5}
NODES=10

say "1. A directory and $NODES nodes, each with 100 QUID"
start_directory --opening-balance 100
for i in $(seq $NODES); do
  "$QUID" --home "$WORK/node-$i" init --directory "$ADDRESS" >/dev/null
  "$QUID" --home "$WORK/node-$i" register "trader-$i" >/dev/null
  "$QUID" --home "$WORK/node-$i" --json listen >"$WORK/node-$i.out" 2>"$WORK/node-$i.log" &
done
for i in $(seq $NODES); do
  wait_for "$WORK/node-$i.out" '"online"' "trader-$i did not come online" "$WORK/node-$i.log"
done
"$QUID" --home "$WORK/node-1" who

say "2. Everybody pays somebody, for $SECONDS_TO_RUN seconds"
trade() { # trade NODE: pays random others until the time is over
  local end=$((SECONDS + SECONDS_TO_RUN)) to
  while [ "$SECONDS" -lt "$end" ]; do
    to=$((RANDOM % NODES + 1))
    [ "$to" = "$1" ] && continue
    # Refusals (no funds left) are part of a market.
    "$QUID" --home "$WORK/node-$1" --json pay "trader-$to" "$((RANDOM % 20)).$((RANDOM % 900 + 100))" \
      >>"$WORK/paid-$1" 2>>"$WORK/pay-$1.log" || true
  done
}
TRADERS=()
for i in $(seq $NODES); do
  trade "$i" &
  TRADERS+=($!)
done
wait "${TRADERS[@]}"
settled=$(cat "$WORK"/paid-* | grep -c '"settled"' || true)
refused=$(cat "$WORK"/paid-* | grep -c '"refused"' || true)
unknown=$(cat "$WORK"/paid-* | grep -c '"unknown"' || true)
echo "settled $settled, refused $refused, unknown $unknown"
[ "$settled" -gt 0 ] || { echo 'nothing settled' >&2; cat "$WORK"/pay-*.log >&2; exit 1; }
[ "$unknown" = 0 ] || { echo 'a payment has no known end' >&2; cat "$WORK"/pay-*.log >&2; exit 1; }

say '3. The audit rebuilds the books from the log'
run "$QUID_DIRECTORY" audit --data "$WORK/directory"
"$QUID_DIRECTORY" audit --json --data "$WORK/directory" >"$WORK/audit"
grep -q '"ok":true' "$WORK/audit"
grep -q "\"available\":\"$((NODES * 100)).000000\"" "$WORK/audit" || { echo 'units appeared or vanished' >&2; exit 1; }

say "Done: $NODES times 100 QUID were issued and $NODES times 100 QUID are there."
