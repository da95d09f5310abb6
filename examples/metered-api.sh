#!/usr/bin/env bash
# A toy model answers token by token and is paid by the token (src/metered_api): it says no more
# than four tokens before they are paid, and a kill loses the payments of eight tokens at most. Both
# sides are killed in the middle of an answer.
PACKAGES=quid-examples
. "$(dirname "$0")/lib.sh"
PRICE=0.0002
PRICE_UNITS=200
WINDOW=4
EXPOSURE=8

say '1. A directory, a model and a client'
start_directory --opening-balance 100
join parrot carla

serve() { # serve ADDRESS: has the model answer there, and sets MODEL
  local command=("$BIN/metered-api" serve "$WORK/parrot" "$PRICE" --window "$WINDOW"
    --exposure "$EXPOSURE" --listen "$1")
  show "${command[@]}"
  "${command[@]}" >"$WORK/serve.out" 2>>"$WORK/sides.log" &
  MODEL=$!
  wait_for "$WORK/serve.out" 'answers at' 'the model does not answer' "$WORK/sides.log"
}

ask() { # ask MOST QUESTION...: asks, into the file said, and sets CLIENT
  local most=$1 command
  shift
  command=("$BIN/metered-api" ask "$WORK/carla" parrot "$API" "$@" --price "$PRICE" --most "$most")
  show "${command[@]}"
  SAID=$(mktemp "$WORK/said-XXXXXX")
  "${command[@]}" >"$SAID" 2>>"$WORK/sides.log" &
  CLIENT=$!
}

answered() { # answered: waits for the client and shows what came
  wait "$CLIENT" || { echo 'no answer came' >&2; cat "$WORK/sides.log" >&2; exit 1; }
  cat "$SAID"
}

tokens() { # tokens FILE...: how many tokens came
  cat "$@" | grep -v -e '^>' -e '^  (' -e '^the tab paid' | wc -w
}

has_tokens() { # has_tokens COUNT: whether the answer has so many
  [ "$(tokens "$SAID")" -ge "$1" ]
}

wait_tokens() { # wait_tokens COUNT
  wait_until 'the answer does not go on' "$WORK/sides.log" has_tokens "$1"
}

say '2. The model says what it takes'
serve 127.0.0.1:0
cat "$WORK/serve.out"
API=$(sed -n 's/^answers at //p' "$WORK/serve.out")

say '3. Two questions on one tab'
ask 25 'What is a tab?' 'And what is the risk?'
answered
[ "$(tokens "$SAID")" = 50 ] || { echo 'not the tokens that were asked for' >&2; exit 1; }
grep -q '^the tab paid 0.010000 QUID$' "$SAID" || { echo 'not what 50 tokens cost' >&2; exit 1; }

say '4. The client is killed in the middle of an answer, and asks again'
ask 100 'Tell me more'
wait_tokens 30
kill_hard "$CLIENT"
ask 20 'Where were we?'
answered

say '5. The model is killed in the middle of an answer, comes back, and is asked again'
ask 100 'And the money?'
wait_tokens 30
kill_hard "$MODEL"
if wait "$CLIENT"; then
  echo 'it had no whole answer' >&2
  exit 1
fi
serve "$API"
ask 20 'And the rest of it?'
answered

say '6. What came was paid, but for what the model had said that it risks'
kill "$MODEL"
wait "$MODEL"
earned=$((($(money parrot balance) - 100000000) / PRICE_UNITS))
came=$(tokens "$WORK"/said-*)
echo "$came tokens came, $earned were paid"
[ "$earned" -le "$came" ] || { echo 'the client paid for what it did not get' >&2; exit 1; }
[ "$earned" -ge $((came - 2 * WINDOW - EXPOSURE)) ] || { echo 'the model lost more than that' >&2; exit 1; }
[ "$(money carla balance)" = $((100000000 - earned * PRICE_UNITS)) ] || { echo 'money is missing' >&2; exit 1; }
[ "$(money carla held)" = 0 ] || { echo 'something is held still' >&2; exit 1; }
run "$QUID_DIRECTORY" audit --data "$WORK/directory"
"$QUID_DIRECTORY" audit --json --data "$WORK/directory" | grep -q '"ok":true'

say "Done: an answer is paid as it is said."
