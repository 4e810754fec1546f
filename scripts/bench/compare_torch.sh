#!/usr/bin/env bash
# saslm and PyTorch side by side on this machine's CPU: training steps of each config in alternating rounds, so that
# whatever else the machine does weighs on both. Prints per config the median tokens/s of each, their range and the ratio.
#
#     scripts/bench/compare_torch.sh [--rounds 3] [--steps 20] [--threads 2] [CONFIG...]
#
# Without CONFIG: every configs/bench_cpu_*.json. PYTHON names a Python that has PyTorch, SASLM the program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
saslm=${SASLM:-$root/build/saslm}
rounds=3 steps=20 threads=2 configs=()
fail() { echo "compare_torch: $1" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case $1 in
    --rounds | --steps | --threads)
      [[ $# -ge 2 && $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 wants a positive number, got '${2-}'"
      printf -v "${1#--}" %s "$2"
      shift 2 ;;
    -*) fail "unknown option $1; there are --rounds, --steps and --threads" ;;
    *) configs+=("$1"); shift ;;
  esac
done
[ ${#configs[@]} -gt 0 ] || configs=("$root"/configs/bench_cpu_*.json)
for config in "${configs[@]}"; do [ -f "$config" ] || fail "$config: no such config"; done
[ -x "$saslm" ] || fail "$saslm: no such program; run scripts/build.sh or set SASLM"

python=
for candidate in "${PYTHON:-python3}" /usr/bin/python3; do
  if "$candidate" -c 'import torch' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "$python" ] || fail "no Python with PyTorch; install python3-torch or set PYTHON"

export OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for config in "${configs[@]}"; do
  for ((round = 1; round <= rounds; ++round)); do
    echo "$(basename "$config") round $round of $rounds" >&2
    printf '%s\t%s\t' saslm "$config"; "$saslm" bench step "$config" --set runtime.device=cpu --steps "$steps" --json | tr -d '\n'; echo
    printf '%s\t%s\t' torch "$config"; "$python" "$here/torch_step.py" "$config" --device cpu --threads "$threads" --steps "$steps" --json
  done
done > "$lines"

"$python" - "$lines" "$threads" << 'REPORT'
import json, os, statistics, sys

figures = {}
for line in open(sys.argv[1]):
    side, config, result = line.split("\t", 2)
    figures.setdefault(config, {}).setdefault(side, []).append(json.loads(result)["tokens_per_s"])
print(f"tokens/s, median of the rounds (lowest to highest), {sys.argv[2]} threads")
for config, sides in figures.items():
    medians = {side: statistics.median(rounds) for side, rounds in sides.items()}
    text = "   ".join(f"{side} {medians[side]:8.0f} ({min(rounds):.0f} to {max(rounds):.0f})" for side, rounds in sides.items())
    print(f"{os.path.basename(config):28s} {text}   saslm / torch {medians['saslm'] / medians['torch']:.2f}")
REPORT
