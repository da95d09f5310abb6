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

step 'three hundred kills, each at a system call of payer, payee or directory'
cargo run -q -p quid-crash -- kill --points 330

step 'doc tests and documentation'
cargo test --workspace --doc
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

step 'examples'
QUID_PROFILE=dev ./examples/quickstart.sh
QUID_PROFILE=dev ./examples/market.sh
QUID_PROFILE=dev ./examples/shop.sh
QUID_PROFILE=dev ./examples/paid-download.sh
QUID_PROFILE=dev ./examples/metered-api.sh

if $all; then
  step 'disks that are full or fail, and power cuts'
  need nbdkit nbdkit
  need nbdfuse libnbd-bin
  need mkfs.ext4 e2fsprogs
  if [ "$(id -u)" = 0 ] && losetup -f >/dev/null 2>&1 && [ -e /dev/fuse ]; then
    cargo run -q -p quid-crash -- disk --points 10
  else
    echo 'without root, loop devices and FUSE: no full or failing device and no power cut is tried'
    cargo run -q -p quid-crash -- disk errors --points 10
  fi

  step 'ten thousand members online at once'
  QUID_CROWD=10000 cargo test --workspace --test crowd

  step 'five hundred simulated worlds, with every fault'
  cargo run --release -q -p quid-sim -- --seeds 0..500

  step 'the bench, every scenario quickly; it fails on what is wrong, never on what is slow'
  cargo build --release --workspace
  for scenario in settle hot latency login idle large audit tab tick tabs claim; do
    cargo run --release -q -p quid-bench -- "$scenario" --quick
  done

  step 'every flood quickly; it fails if the pair cannot pay or the books are wrong'
  cargo run --release -q -p quid-bench -- flood all --quick --seconds 1
  step 'the systemd units'
  need systemd-analyze systemd
  need pgrep procps
  ./packaging/check.sh target/debug

  step 'dependencies: licences, bans, sources'
  if cargo deny --version >/dev/null 2>&1; then
    cargo deny check bans licenses sources
  else
    cargo install --locked --version 0.20.2 cargo-deny
    cargo deny check bans licenses sources
  fi
fi

step 'all passed'
