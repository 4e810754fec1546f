#!/usr/bin/env bash
# From nothing to a result: installs what is needed, builds the program, and compares a small MHA and a small SAS model
# of equal size under the same tokens, with three seeds. The last screen is the verdict, and what to do next.
#   scripts/quickstart.sh           on the King James Bible (Debian's bible-kjv, public domain, 4.1 MB)
#   scripts/quickstart.sh TEXT      on a text of your own, UTF-8, 300 kB at least; its last sixteenth is for validation
# Finished work is kept: a second call shows the result again, and a stopped one continues.
set -euo pipefail
text=${1:+$(realpath "$1")}
[ -z "$text" ] || [ -f "$text" ] || { echo "$1: there is no such file" >&2; exit 2; }
cd "$(dirname "$0")/.."
work=build/quickstart
if [ -n "$text" ]; then
  [ "$(stat -L -c %s "$text")" -ge 300000 ] || { echo "$text: wanted a text of 300 kB at least" >&2; exit 2; }
  work=build/quickstart_$(basename "$text" .txt)
fi

scripts/setup.sh --program
scripts/build.sh --no-tests build -DSASLM_CUDA=OFF  # also where there is a GPU: scripts/gpu_check.sh tries that
saslm=build/saslm
built=$SECONDS

if [ -n "$text" ]; then  # what is kept is this text's
  now=$(cksum <"$text")
  if [ -e "$work" ] && [ "$(cat "$work/cksum" 2>/dev/null)" != "$now" ]; then
    echo "== $work belongs to another text of this name; starting again"
    rm -r "$work"
  fi
  mkdir -p "$work"
  echo "$now" >"$work/cksum"
fi
if [ ! -e "$work/data/val.json" ]; then
  mkdir -p "$work"
  if [ -n "$text" ]; then
    echo "== text: $text; its last sixteenth is for validation"
    part=$(($(stat -L -c %s "$text") / 16))
    head -c -$part "$text" >"$work/train.txt"
    tail -c $part "$text" >"$work/val.txt"
  else
    echo "== text: the King James Bible, references stripped; the last 240 kB are for validation"
    scripts/sample_text.sh "$work"
  fi
  for part in train val; do
    $saslm tokenize --input "$work/$part.txt" --tokenizer bytes --out "$work/data" --prefix $part
  done
fi

echo "== configs/compare_quickstart.json: two variants, three seeds, the same tokens for all"
$saslm compare configs/compare_quickstart.json --run-dir "$work/compare" --set "data.train=$PWD/$work/data/train_*.bin" \
  --set "data.val=$PWD/$work/data/val_*.bin" >"$work/table.txt" ||
  { code=$?; echo "to start again: rm -r $work" >&2; exit $code; }
trained=$SECONDS
prompt="And God said"
[ -z "$text" ] || prompt=$(sed -n '2s/^\(.\{1,24\}\).*/\1/p' "$work/val.txt")
for kind in mha sas; do
  $saslm generate --checkpoint "$work/compare/runs/${kind}_seed1" --prompt "${prompt:-The}" --tokens 70 --temperature 0.7 \
    --seed 7 >"$work/$kind.txt"
done
scripts/quickstart_screen.py "$work" "$built" $((trained - built)) $((SECONDS - trained))
