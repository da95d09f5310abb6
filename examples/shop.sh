#!/usr/bin/env bash
# A shop and a customer, both small programs on the library (src/shop.rs, src/pay_once.rs): the
# shop hands something over only after a verified receipt, and only once for each.
. "$(dirname "$0")/lib.sh"

say '1. A directory, a shop and a customer'
start_directory --opening-balance 100
for name in corner-shop carla; do
  "$QUID" --home "$WORK/$name" init --directory "$ADDRESS" >/dev/null
  "$QUID" --home "$WORK/$name" register "$name"
done

say '2. The shop opens'
"$BIN/shop" "$WORK/corner-shop" 2 >"$WORK/shop.out" 2>"$WORK/shop.log" &
wait_for "$WORK/shop.out" 'offer 2' 'the shop did not open' "$WORK/shop.log"
cat "$WORK/shop.out"

say '3. The customer buys both things on offer'
for offer in 1 2; do
  reference=$(sed -n "s/^offer $offer: .* reference \([0-9a-f]*\)$/\1/p" "$WORK/shop.out")
  run "$BIN/pay-once" "$WORK/carla" corner-shop 2.50 "$reference"
done

say '4. A second payment for the same thing is declined'
run "$BIN/pay-once" "$WORK/carla" corner-shop 2.50 "$reference" && { echo 'paid twice' >&2; exit 1; }

say '5. What the shop says'
wait_for "$WORK/shop.out" 'sold out' 'the shop did not sell everything' "$WORK/shop.log"
cat "$WORK/shop.out"
[ "$(grep -c 'handing over' "$WORK/shop.out")" = 2 ]

say 'Done: two things paid, two handed over.'
