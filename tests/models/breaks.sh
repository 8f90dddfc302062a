#!/bin/bash
# Shows that the models find what they are for: breaks one line of a copy of the source at a time (a notification left
# out, two stores swapped) and expects its model to fail. tests/models/breaks.sh [MODEL...]; none is all. A line that is
# no longer there is an error, so that the list stays true. Takes some minutes: each break is a build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

models=("$@")
built=$(realpath -m "${CARGO_TARGET_DIR:-target}")/models
tree=$built/broken
rm -rf "$tree"
mkdir -p "$tree"
tar -c --exclude=./target --exclude=./.git . | tar -x -C "$tree"
shown=0
failed=()

wanted() {
    local model
    [[ ${#models[@]} -gt 0 ]] || return 0
    for model in "${models[@]}"; do
        [[ $1 != *"$model"* ]] || return 0
    done
    return 1
}

complain() {
    echo "$1" >&2
    failed+=("$1")
}

# break_line MODEL FILE OLD NEW: OLD stands in FILE once; with NEW in its place MODEL fails.
break_line() {
    local model=$1 file=$2 old=$3 new=$4 text rest code=0
    wanted "$model" || return 0
    text=$(<"$file")
    rest=${text#*"$old"}
    if [[ $rest == "$text" || $rest == *"$old"* ]]; then
        complain "$file: not there, or more than once: $old"
        return
    fi
    printf '%s\n' "${text%%"$old"*}$new$rest" >"$tree/$file"
    if ! cargo_test --no-run >"$built/break.log" 2>&1; then
        tail -n 20 "$built/break.log" >&2
        complain "$file: does not build with: $new"
    else
        cargo_test -- --nocapture "$model" >"$built/break.log" 2>&1 || code=$?
        case $code in
        0) complain "$model passes with $file broken: ${new:-without }${new:+ for }$old" ;;
        124) complain "$model does not end with $file broken: $old" ;;
        *)
            shown=$((shown + 1))
            printf '%3d s  %s fails: %s\n' "$SECONDS" "$model" "$(sed -n '/panicked at/{n;p;q}' "$built/break.log" | cut -c 1-100)"
            ;;
        esac
    fi
    cp "$file" "$tree/$file"
}

cargo_test() {
    (cd "$tree" && RUSTFLAGS="--cfg loom" timeout 240 cargo test --locked --package models --lib --target-dir "$built" "$@")
}

source tests/models/breaks.list

if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'wrong: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "$shown breaks, each found by its model"
