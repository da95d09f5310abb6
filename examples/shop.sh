#!/usr/bin/env bash
# A shop and a customer, both small programs on the library (src/shop.rs, src/pay_once.rs): the
# shop hands something over only after a verified receipt, and only once for each.
PACKAGES=quid-examples
. "$(dirname "$0")/lib.sh"

say '1. A directory, a shop and a customer'
start_directory --opening-balance 100
join corner-shop carla

say '2. The shop opens'
"$BIN/shop" "$WORK/corner-shop" 3 >"$WORK/shop.out" 2>"$WORK/shop.log" &
wait_for "$WORK/shop.out" 'offer 3' 'the shop did not open' "$WORK/shop.log"
cat "$WORK/shop.out"

buy() { # buy OFFER: pays for it with the reference that the shop printed
  local reference
  reference=$(sed -n "s/^offer $1: .* reference \([0-9a-f]*\)$/\1/p" "$WORK/shop.out")
  run "$BIN/pay-once" "$WORK/carla" corner-shop 2.50 "$reference"
}

say '3. The customer buys two of the three things'
buy 1
buy 2

say '4. A second payment for the same thing is declined, and costs nothing'
if buy 2; then
  echo 'paid twice' >&2
  exit 1
fi

say '5. The customer buys the last one'
buy 3

say '6. What the shop said'
wait_for "$WORK/shop.out" 'sold out' 'the shop did not sell everything' "$WORK/shop.log"
cat "$WORK/shop.out"
[ "$(grep -c 'handing over' "$WORK/shop.out")" = 3 ]
run "$QUID" --home "$WORK/carla" status | sed -n 1,3p

say 'Done: three things paid, three handed over.'
