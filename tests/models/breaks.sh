#!/bin/bash
# Shows that the models find what they are for: breaks a copy of the source as breaks.list says, one place at a time, and
# expects the model of it to fail and to say why. tests/models/breaks.sh [MODEL...]; none is all. Takes some minutes: each
# break is a build.
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

# Puts the new text into the place of the old one, and runs the model.
try() {
    local text rest code=0
    text=$(<"$file")
    rest=${text#*"$old"}
    if [[ $rest == "$text" || $rest == *"$old"* ]]; then
        complain "$file: not there, or more than once: $old"
        return
    fi
    printf '%s\n' "${text%%"$old"*}$new$rest" >"$tree/$file"
    if ! cargo_test --no-run >"$built/break.log" 2>&1; then
        tail -n 20 "$built/break.log" >&2
        complain "$file does not build with: $new"
    else
        limit=240 cargo_test -- --nocapture "$model" >"$built/break.log" 2>&1 || code=$?
        case $code in
        0) complain "$model passes although $words" ;;
        124) complain "$model does not end although $words" ;;
        *)
            if grep -qF -- "$says" "$built/break.log"; then
                shown=$((shown + 1))
                printf '%4d s  %s, when %s: %s\n' "$SECONDS" "$model" "$words" "$says"
            else
                grep -A 2 'panicked at' "$built/break.log" | cut -c 1-200 >&2 || tail -n 20 "$built/break.log" >&2
                complain "$model does not say \"$says\" when $words"
            fi
            ;;
        esac
    fi
    cp "$file" "$tree/$file"
}

cargo_test() {
    (cd "$tree" && RUSTFLAGS="--cfg loom" timeout "${limit:-0}" \
        cargo test --locked --package models --lib --target-dir "$built" "$@")
}

while IFS= read -r line; do
    case $line in
    '== '*)
        read -r _ model file words <<<"$line"
        old='' new=''
        ;;
    '- '*) old+=${old:+$'\n'}${line:2} ;;
    '+ '*) new+=${new:+$'\n'}${line:2} ;;
    '> '*)
        says=${line:2}
        # Whoever reads the list would eat it.
        ! wanted "$model" || try </dev/null
        ;;
    esac
done <tests/models/breaks.list

if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'wrong: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "$shown breaks, each found by its model"
