#!/bin/bash
# Runs fuzz targets: tests/fuzz/run.sh SECONDS [TARGET...]; without names all of them, SECONDS each. Writes nothing
# into the tree: what is found is left in target/fuzz/findings, and the exit code is then not 0. A finding again, without
# libFuzzer: cargo run -p fuzz --bin TARGET FILE. Needs a C++ compiler, and no other toolchain than the project's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ ! ${1:-} =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 SECONDS [TARGET...]" >&2
    exit 2
fi
seconds=$1
shift
here=tests/fuzz
all=()
for source in "$here"/src/bin/*.rs; do
    all+=("$(basename "$source" .rs)")
done
targets=("$@")
[[ $# -gt 0 ]] || targets=("${all[@]}")
for target in "${targets[@]}"; do
    if [[ ! -f $here/src/bin/$target.rs ]]; then
        echo "there is no target $target; there are: ${all[*]}" >&2
        exit 2
    fi
done

# What cargo-fuzz gives: counters at each edge, a table of places, and comparisons that the fuzzer can see.
built=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(--cfg fuzzing -C passes=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=(-C "llvm-args=-sanitizer-coverage-$option")
done
bins=()
for target in "${targets[@]}"; do
    bins+=(--bin "$target")
done
# With --target the flags are not for build scripts, which have no fuzzer to link with.
RUSTFLAGS="${flags[*]}" cargo build --locked --package fuzz --profile fuzz --target "$host" --target-dir "$built" \
    "${bins[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()
for target in "${targets[@]}"; do
    cp -r "$here/corpus/$target" "$work/$target"
    findings=$built/findings/$target
    mkdir -p "$findings"
    options=(-max_total_time="$seconds" -rss_limit_mb=1024 -timeout=5 -max_len=4096 -verbosity=0 -print_final_stats=1)
    [[ ! -f $here/dictionary/$target ]] || options+=(-dict="$here/dictionary/$target")
    printf -- '--- %s, %d s\n' "$target" "$seconds"
    if "$built/$host/fuzz/$target" "${options[@]}" -artifact_prefix="$findings/" "$work/$target" >"$work/log" 2>&1; then
        sed -n 's/^stat::\(number_of_executed_units\|average_exec_per_sec\|new_units_added\|peak_rss_mb\): */\1 /p' \
            "$work/log"
    else
        cat "$work/log"
        failed+=("$target")
    fi
done
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "found something: ${failed[*]}; see $built/findings" >&2
    exit 1
fi
