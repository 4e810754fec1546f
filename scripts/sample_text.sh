#!/usr/bin/env bash
# Makes a sample text for every machine: the King James Bible (Debian's bible-kjv, public domain, 4.1 MB), references
# stripped, as FOLDER/train.txt and FOLDER/val.txt; the last 240 kB are for validation.
set -euo pipefail
folder=${1:?usage: scripts/sample_text.sh FOLDER}
mkdir -p "$folder"
bible -f gen1:1-rev22:21 | sed 's/^[^ ]* //' >"$folder/kjv.txt"
head -c -240000 "$folder/kjv.txt" >"$folder/train.txt"
tail -c 240000 "$folder/kjv.txt" >"$folder/val.txt"
rm "$folder/kjv.txt"
