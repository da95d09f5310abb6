#!/usr/bin/env bash
# A file is sold chunk by chunk (src/paid_download): the buyer pays each chunk before the next, on a
# tab. Both sides are killed in the middle, and the buyer ends with the whole file, paid once.
PACKAGES=quid-examples
. "$(dirname "$0")/lib.sh"
FILE_LEN=6300000
CHUNK_LEN=65536
PRICE=0.0025
CHUNKS=$(((FILE_LEN + CHUNK_LEN - 1) / CHUNK_LEN))

say '1. A directory, an archive that sells a film, and a buyer'
start_directory --opening-balance 100
join archive bert
head -c "$FILE_LEN" /dev/urandom >"$WORK/film"

sell() { # sell ADDRESS: sells the film there, and sets SELLER
  local command=("$BIN/paid-download" sell "$WORK/archive" "$WORK/film" "$PRICE" --window 1 --listen "$1")
  show "${command[@]}"
  "${command[@]}" >"$WORK/sell.out" 2>>"$WORK/sell.log" &
  SELLER=$!
  wait_for "$WORK/sell.out" 'data at' 'the archive does not sell' "$WORK/sell.log"
}

buy() { # buy: gets the film, or the rest of it, and sets BUYER
  local command=("$BIN/paid-download" buy "$WORK/bert" archive "$DATA" "$FILE" "$WORK/film.copy"
    --most 1 --rate 2000000)
  show "${command[@]}"
  "${command[@]}" &
  BUYER=$!
}

bought() { # bought: waits for the buyer
  wait "$BUYER" || { echo 'the buyer gave up' >&2; cat "$WORK/sell.log" >&2; exit 1; }
}

has_len() { # has_len BYTES: whether so much of the film is there
  [ "$(stat -c %s "$WORK/film.copy.part")" -ge "$1" ]
}

wait_len() { # wait_len BYTES
  wait_until 'the download does not go on' "$WORK/sell.log" has_len "$1"
}

say '2. The archive offers the film, in chunks of 64 KiB'
sell 127.0.0.1:0
cat "$WORK/sell.out"
FILE=$(sed -n 's/^file \([0-9a-f]*\):.*/\1/p' "$WORK/sell.out")
DATA=$(sed -n 's/^data at //p' "$WORK/sell.out")

say '3. The buyer begins, and is killed in the middle'
buy
wait_len 2000000
kill_hard "$BUYER"
printf '\nkilled, with %s bytes of the film\n' "$(stat -c %s "$WORK/film.copy.part")"
[ ! -e "$WORK/film.copy" ] || { echo 'it was over before' >&2; exit 1; }

say '4. It goes on where it was; now the archive is killed, and comes back'
buy
wait_len 4000000
kill_hard "$SELLER"
printf '\nkilled\n'
sell "$DATA"
bought
cmp "$WORK/film" "$WORK/film.copy"
buy
bought

say '5. The film is whole, and every chunk was paid once'
kill "$SELLER"
wait "$SELLER"
run "$QUID" --home "$WORK/bert" status | sed -n 1,3p
run "$QUID" --home "$WORK/archive" status | sed -n 1,3p
paid=$((CHUNKS * 2500))
[ "$(money archive balance)" = $((100000000 + paid)) ] || { echo "the archive earned something else than $paid" >&2; exit 1; }
[ "$(money bert balance)" = $((100000000 - paid)) ] || { echo "the buyer paid something else than $paid" >&2; exit 1; }
[ "$(money bert held)" = 0 ] || { echo 'something is held still' >&2; exit 1; }
"$QUID" --home "$WORK/bert" --json history >"$WORK/history"
[ "$(grep -c '"kind":"hold"' "$WORK/history")" = 1 ] || { echo 'there was more than one tab' >&2; exit 1; }
run "$QUID_DIRECTORY" audit --data "$WORK/directory"
"$QUID_DIRECTORY" audit --json --data "$WORK/directory" | grep -q '"ok":true'

say "Done: $CHUNKS chunks, $CHUNKS payments, one tab, two kills."
