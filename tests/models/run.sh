#!/bin/bash
# Runs the models: tests/models/run.sh [NAME...]; a NAME is a part of a test's name, none is all. Prints for each how many
# orders of its steps there were. Builds into a folder of its own, since everything is built with --cfg loom.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export RUSTFLAGS="--cfg loom"
models=(cargo test --locked --package models --lib --target-dir "${CARGO_TARGET_DIR:-target}/models")
"${models[@]}" --no-run
# A model that does not end has found something too.
timeout 600 "${models[@]}" -- --nocapture "$@"
