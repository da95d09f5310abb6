#!/usr/bin/env bash
# Fuzzes targets with libFuzzer on the stable toolchain: fuzz/run.sh SECONDS [TARGET...]
# Without a target, all of them, one after another. What is found new is kept in
# target/fuzz-corpus/TARGET; what fails is left in target/fuzz-failures/TARGET-... and ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^quid-fuzz$')
fi

host=$(rustc -vV | sed -n 's/^host: //p')
# As cargo-fuzz sets them, but for --cfg fuzzing: the code is tried as it ships.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
build=(cargo build --profile fuzz -p quid-fuzz --features libfuzzer --target "$host" --target-dir target/fuzz)
for target in "${targets[@]}"; do build+=(--bin "$target"); done
"${build[@]}"

# Folders that are damaged a thousand times over belong into memory.
export TMPDIR=${TMPDIR:-/dev/shm}
for target in "${targets[@]}"; do
  corpus=target/fuzz-corpus/$target
  mkdir -p "$corpus" target/fuzz-failures
  echo "== $target, $seconds s"
  status=0
  "target/fuzz/$host/fuzz/$target" "$corpus" "fuzz/seeds/$target" \
    -max_total_time="$seconds" -artifact_prefix="target/fuzz-failures/$target-" \
    -timeout=20 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 -close_fd_mask=1 \
    >"target/fuzz-$target.log" 2>&1 || status=$?
  grep -aE 'DONE|stat::number|SUMMARY|panicked|Test unit' "target/fuzz-$target.log" || true
  if [ $status != 0 ]; then
    tail -n 20 "target/fuzz-$target.log"
    exit $status
  fi
done
