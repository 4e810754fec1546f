#!/usr/bin/env python3
"""Tables of what ran over the PTX machine: `tables.py RESULTS KERNELS`, from the files that the tests left in RESULTS;
KERNELS is the folder of the .cu files. Printed, and left as RESULTS/tables.md. Exit 1 when a kernel never ran.

FILE_ARCH.twin      lines of tests/simt/twin_log.h, of the tests in test_FILE.cpp
FILE_ARCH.profile   the machine's PTX_PROFILE of the same run
losses.jsonl        lines of test_program.py
"""
import json
import re
import sys
from pathlib import Path

ARCHITECTURES = {"80": "sm_80", "90": "sm_90a"}


def kernels_of(profile):
    """{kernel: its instances that ran}"""
    instances = {}
    for line in profile.read_text().splitlines() if profile.exists() else []:
        if line.startswith("KERNEL "):
            name = re.search(r"(\w+_kernel)\b", line)
            if name:
                instances.setdefault(name[1], set()).add(line[7:].strip())
    return instances


def differences(twin):
    """{type: (largest difference, largest share of what is allowed, comparisons)}"""
    found = {}
    for line in twin.read_text().splitlines() if twin.exists() else []:
        entry = json.loads(line)
        largest, share, count = found.get(entry["type"], (0, 0, 0))
        found[entry["type"]] = (max(largest, entry["largest"]), max(share, entry["share"]), count + 1)
    return found


def kernel_table(results):
    files = sorted({path.stem.rpartition("_")[0] for path in results.glob("*.profile")})
    lines = ["| tests | type | " + " | ".join(f"{name}: largest difference (share of the bound), comparisons"
                                              for name in ARCHITECTURES.values()) + " | kernels (instances that ran) |",
             "|---|---|" + "---:|" * len(ARCHITECTURES) + "---|"]
    ran = {arch: {} for arch in ARCHITECTURES}
    for file in files:
        found = {arch: differences(results / f"{file}_{arch}.twin") for arch in ARCHITECTURES}
        for arch in ARCHITECTURES:
            for kernel, instances in kernels_of(results / f"{file}_{arch}.profile").items():
                ran[arch].setdefault(kernel, set()).update(instances)
        own = kernels_of(results / f"{file}_{max(ARCHITECTURES)}.profile")
        kernels = ", ".join(f"{kernel.removesuffix('_kernel')} ({len(instances)})" for kernel, instances in sorted(own.items()))
        for number, kind in enumerate(sorted(set().union(*found.values())) or ["-"]):
            cells = []
            for arch in ARCHITECTURES:
                largest, share, count = found[arch].get(kind, (0, 0, 0))
                cells.append(f"{largest:.2g} ({share:.2f}), {count}" if count else "equal bits" if kind == "-" else "not run")
            lines.append(f"| {file} | {kind} | " + " | ".join(cells) + f" | {kernels if number == 0 else ''} |")
    return lines, ran


def losses_table(results):
    path = results / "losses.jsonl"
    runs = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    by_key = {(r["kind"], r["device"], r["precision"]): r for r in runs}
    lines = ["| kind | losses on the CPU, fp32 | as PTX, fp32 | as PTX, bf16 | fp32: largest relative difference of a loss,"
             " a gradient norm | bf16 |", "|---|---|---|---|---:|---:|"]
    columns = ("cpu", "fp32"), ("ptx", "fp32"), ("ptx", "bf16")
    for kind in sorted({r["kind"] for r in runs}):
        own = [by_key.get((kind, *column)) for column in columns]
        cells = [" ".join(f"{loss:.5f}" for loss in r["losses"]) if r else "not run" for r in own]
        cells += [f"{r['far']['loss']:.1e}, {r['far']['grad_norm']:.1e}" if r else "not run" for r in own[1:]]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines if runs else []


def never_run(ran, sources):
    """Kernels that no test has executed, by architecture. What is compiled for sm_90 alone is not expected on sm_80."""
    missing = []
    for source in sorted(sources.glob("*.cu*")):
        text = source.read_text()
        newest_alone = "simt_sm90.h" in text
        for kernel in re.findall(r"\b(\w+_kernel)\(", "".join(re.findall(r"__global__[^;{]*\{", text))):
            for arch, name in ARCHITECTURES.items():
                if kernel not in ran[arch] and not (newest_alone and arch == "80"):
                    missing.append(f"{source.name}: {kernel} did not run as PTX of {name}")
    return missing


def main():
    results, sources = Path(sys.argv[1]), Path(sys.argv[2])
    kernels, ran = kernel_table(results)
    missing = never_run(ran, sources)
    counts = ", ".join(f"{sum(map(len, ran[arch].values()))} instances of {len(ran[arch])} kernels for {name}"
                       for arch, name in ARCHITECTURES.items())
    text = "\n".join([f"Executed as PTX: {counts}.", "", *kernels, "", *losses_table(results)]) + "\n"
    (results / "tables.md").write_text(text)
    print(text)
    print("\n".join(missing))
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
