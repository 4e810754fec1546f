#!/usr/bin/env bash
# From nothing to a result: installs what is needed, builds the program, and compares a small MHA and a small SAS model
# of nearly equal size on the King James Bible (Debian's bible-kjv, public domain, 4.1 MB) under the same tokens.
# Ends with a sample of each model's text and the comparison's table. A few minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
gpu=OFF  # compiling the GPU's kernels takes minutes, so only where there is one
[ -e /dev/nvidiactl ] && gpu=ON
scripts/build.sh --no-tests build -DSASLM_CUDA=$gpu
saslm=build/saslm
work=build/quickstart
rm -rf "$work"
mkdir -p "$work"

echo "== text: the King James Bible, references stripped; the last 240 kB are for validation"
scripts/sample_text.sh "$work"
for part in train val; do
  $saslm tokenize --input "$work/$part.txt" --tokenizer bytes --out "$work/data" --prefix "$part"
done

echo "== configs/compare_quickstart.json: the same tokens for both"
$saslm compare configs/compare_quickstart.json --run-dir "$work/compare" >"$work/table.txt"

for kind in mha sas; do
  printf '\n== %s, asked to continue "And God said"\n' "$kind"
  $saslm generate --checkpoint "$work/compare/runs/${kind}_seed1" --prompt "And God said" --tokens 300 --temperature 0.7 --seed 7
done
printf '\n== what the comparison shows; curves in %s/compare/report.html\n' "$work"
cat "$work/table.txt"
