#!/usr/bin/env bash
# A directory and two nodes on this machine: register, log in, see each other, pay, settle.
. "$(dirname "$0")/lib.sh"

say '1. A directory starts, and gives every newcomer 100 QUID'
start_directory --opening-balance 100
echo "its address: $ADDRESS"

say '2. Alice and Bob each make a key, pin the directory and take a name'
for name in alice bob; do
  run "$QUID" --home "$WORK/$name" init --directory "$ADDRESS"
  run "$QUID" --home "$WORK/$name" register "$name"
done

say '3. Bob goes online; Alice sees him'
show "$QUID" --home bob listen
"$QUID" --home "$WORK/bob" listen >"$WORK/bob.out" 2>"$WORK/bob.log" &
wait_for "$WORK/bob.out" online 'bob did not come online' "$WORK/bob.log"
run "$QUID" --home "$WORK/alice" who

say '4. Alice pays Bob directly: the order goes straight to his node, which settles it'
run "$QUID" --home "$WORK/alice" pay bob 8.75 --memo 'for the tea'

say '5. Bob, who was listening, saw'
wait_for "$WORK/bob.out" tea 'bob did not hear of the payment' "$WORK/bob.log"
cat "$WORK/bob.out"
echo 'Both hold a receipt that proves the payment to anyone who knows the directory:'
entry=$(sed -n 's/.*tea.*(entry \([0-9]*\)).*/\1/p' "$WORK/bob.out")
for name in alice bob; do
  run "$QUID" --home "$WORK/$name" receipt verify "$entry"
done

say '6. Bob leaves; a payment to him is settled by Alice and waits in his history'
kill %2 && wait %2 2>/dev/null || true
run "$QUID" --home "$WORK/alice" pay bob 0.000001

say '7. Both balances, and what Bob finds when he looks'
run "$QUID" --home "$WORK/alice" status
run "$QUID" --home "$WORK/bob" status
run "$QUID" --home "$WORK/bob" history

say '8. Anybody with the folder can rebuild the books, also while the directory serves'
run "$QUID_DIRECTORY" audit --data "$WORK/directory"

say 'Done: two payments, no unit appeared or vanished.'
