# Shared by the example scripts: builds the programs, starts a directory, cleans up.
# Source it, with the packages in PACKAGES of which programs are needed beside those of node and
# directory; it leaves QUID, QUID_DIRECTORY and BIN (the programs and their folder), WORK (a folder of its
# own, removed at the end) and ADDRESS (of the running directory) behind. QUID_PROFILE names another
# cargo profile than release, QUID_PROGRAMS a folder of programs that are built already.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PROFILE=${QUID_PROFILE:-release}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

# Prints a command as a person would type it.
show() {
  local word line='$'
  for word in "$@"; do
    word=${word#"$BIN/"}
    word=${word#"$WORK/"}
    case "$word" in
      '' | *[!A-Za-z0-9@%+=:,./_-]*) line+=" '$word'" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '%s\n' "$line"
}

run() {
  show "$@"
  "$@"
}

build() {
  if [ -n "${QUID_PROGRAMS:-}" ]; then
    BIN=$(cd "$QUID_PROGRAMS" && pwd)
  else
    compile
  fi
  QUID=$BIN/quid
  QUID_DIRECTORY=$BIN/quid-directory
}

compile() {
  local package quiet=--quiet packages=(-p quid-node -p quid-directory)
  for package in ${PACKAGES:-}; do packages+=(-p "$package"); done
  command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
  echo "building (the first time takes some minutes) ..."
  [ -t 2 ] && quiet=
  (cd "$ROOT" && cargo build $quiet --profile "$PROFILE" "${packages[@]}" --bins)
  local folder=$PROFILE
  [ "$PROFILE" = dev ] && folder=debug
  local target=${CARGO_TARGET_DIR:-$ROOT/target}
  BIN=$target/$folder
}

start_directory() { # start_directory [FLAGS...]
  show "$QUID_DIRECTORY" serve --data directory --listen 127.0.0.1:0 "$@"
  "$QUID_DIRECTORY" serve --data "$WORK/directory" --listen 127.0.0.1:0 "$@" \
    >"$WORK/address" 2>"$WORK/directory.log" &
  DIRECTORY_PID=$!
  # The address is printed once the directory accepts sessions.
  wait_for "$WORK/address" . "the directory did not start; see its log" "$WORK/directory.log"
  ADDRESS=$(cat "$WORK/address")
}

join() { # join NAME...: makes a home for each, and an account of that name
  local name
  for name in "$@"; do
    "$QUID" --home "$WORK/$name" init --directory "$ADDRESS" >/dev/null
    "$QUID" --home "$WORK/$name" register "$name"
  done
}

wait_until() { # wait_until MESSAGE LOG TEST...: until the test succeeds, at most 20 s
  local message=$1 log=$2 i
  shift 2
  for i in $(seq 400); do
    "$@" 2>/dev/null && return
    sleep 0.05
  done
  echo "$message" >&2
  cat "$log" >&2
  exit 1
}

wait_for() { # wait_for FILE PATTERN MESSAGE LOG: until a line of FILE matches, at most 20 s
  wait_until "$3" "$4" grep -q -- "$2" "$1"
}

kill_hard() { # kill_hard PID
  { kill -9 "$1" && wait "$1"; } 2>/dev/null || true
}

money() { # money NAME FIELD: of the status, in the currency's smallest units
  local text
  text=$("$QUID" --home "$WORK/$1" --json status | sed -n "s/.*\"$2\":\"\([0-9.]*\)\".*/\1/p")
  echo $((10#${text/./}))
}

stop_all() {
  local status=$?
  trap - EXIT
  # Listeners first, so that the directory sees them leave.
  jobs -p | sort -rn | xargs -r kill 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$WORK"
  exit "$status"
}

WORK=$(mktemp -d)
trap stop_all EXIT
build
