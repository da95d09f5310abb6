#!/usr/bin/env bash
# Runs every check: formatting, lints, tests, doc tests, examples. `--all` adds the long ones.
# Installs what is missing only as root; otherwise names it in one line.
set -euo pipefail
cd "$(dirname "$0")"

all=false
for argument in "$@"; do
  case "$argument" in
    --all) all=true ;;
    -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
    *) echo "test.sh: unknown argument '$argument'; it takes --all or nothing" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

need() { # need COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install -y "$2" >/dev/null || { apt-get update >/dev/null && apt-get install -y "$2" >/dev/null; }
  else
    echo "test.sh: '$1' is missing; install the package '$2' and run again" >&2
    exit 1
  fi
}

# What mostly waits runs beside other things: `begin NAME COMMAND...`, and later `finish`, which waits
# for all that was begun, shows how each ended, and of what failed everything that it said.
LOGS=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$LOGS"' EXIT
begun=()
begin() {
  "${@:2}" >"$LOGS/$1" 2>&1 &
  begun+=("$!:$1")
}
finish() {
  local each failed=false
  for each in "${begun[@]}"; do
    if wait "${each%%:*}"; then
      printf '%s: ' "${each#*:}"
      tail -1 "$LOGS/${each#*:}"
    else
      printf '%s FAILED:\n' "${each#*:}"
      cat "$LOGS/${each#*:}"
      failed=true
    fi
  done
  begun=()
  ! $failed
}

# Programs are built once, all together, and then started from there: cargo would build their
# libraries anew for every one of them that is asked for alone.
BUILT=${CARGO_TARGET_DIR:-target}

need cargo cargo
need cc gcc
need tmux tmux
need python3 python3
need strace strace

step 'formatting'
cargo fmt --all --check

step 'lints'
cargo clippy --workspace --all-targets -- -D warnings

step 'tests'
# The end-to-end tests start the real programs, so those are built first.
cargo build --workspace --bins --examples
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --no-fail-fast
else
  cargo test --workspace --all-targets --no-fail-fast
fi

step 'doc tests and documentation'
cargo test --workspace --doc
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

step 'examples'
export QUID_PROGRAMS="$BUILT/debug"
for example in quickstart market shop paid-download metered-api; do
  begin "$example" "./examples/$example.sh"
done
finish

# `--all` has hundreds of them.
if ! $all; then
  step 'a kill or two in each operation'
  "$BUILT/debug/quid-crash" kill --points 38
fi

if $all; then
  step 'ten thousand members online at once'
  QUID_CROWD=10000 cargo test --workspace --test crowd

  step 'the programs that are measured, and the simulation, as they are released'
  cargo build --release -p quid-directory -p quid-bench -p quid-sim --bins

  step 'five hundred simulated worlds with every fault; beside them three hundred kills, and disks that fail'
  begin 'kills at system calls' "$BUILT/debug/quid-crash" kill --points 330
  need nbdkit nbdkit
  need nbdfuse libnbd-bin
  need mkfs.ext4 e2fsprogs
  if [ "$(id -u)" = 0 ] && losetup -f >/dev/null 2>&1 && [ -e /dev/fuse ]; then
    begin 'disks' "$BUILT/debug/quid-crash" disk --points 10
  else
    echo 'without root, loop devices and FUSE: no full or failing device and no power cut is tried'
    begin 'disks' "$BUILT/debug/quid-crash" disk errors --points 10
  fi
  begin 'worlds' "$BUILT/release/quid-sim" --seeds 0..500
  finish

  step 'the bench, every scenario quickly; it fails on what is wrong, and on a start that takes over 2 s'
  for scenario in settle hot latency login idle large restart audit tab tick tabs claim; do
    "$BUILT/release/quid-bench" "$scenario" --quick --seconds 1
  done

  step "wallet and dashboard in a real browser (pictures: ${QUID_SCREENSHOTS:-target/screenshots}); beside them every flood quickly, which fails if the pair cannot pay or the books are wrong"
  need chromium chromium
  need chromedriver chromium-driver
  begin 'floods' "$BUILT/release/quid-bench" flood all --quick --seconds 1
  begin 'wallet' ./browser/wallet.py
  finish
  ./browser/dashboard.py

  step 'the systemd units'
  need systemd-analyze systemd
  need pgrep procps
  ./packaging/check.sh "$BUILT/debug"

  step 'dependencies: licences, bans, sources'
  if cargo deny --version >/dev/null 2>&1; then
    cargo deny check bans licenses sources
  else
    cargo install --locked --version 0.20.2 cargo-deny
    cargo deny check bans licenses sources
  fi
fi

step 'all passed'
