#!/bin/sh
# Compiles each .wat of this directory, with wat2wasm of wabt.
set -eu
cd "$(dirname "$0")"
for f in *.wat; do
	wat2wasm "$f" -o "${f%.wat}.wasm"
done
