#!/usr/bin/env python3
"""Checks the dependencies between layers: every #include of a project header must be allowed by the table below.

    scripts/check_layers.py [ROOT]        exit 1 and a line per offence; --self-test shows that it can fail
"""
import pathlib
import re
import sys

# room -> rooms it may include besides itself
ALLOWED = {
    "core": set(),
    "config": {"core"},
    "data": {"core", "config"},
    "checkpoint": {"core", "config"},
    "metrics": {"core", "config"},
    "comm": {"core"},
    "kernels": {"core"},  # the contracts
    "kernels/check": {"core", "kernels", "kernels/cpu", "kernels/cuda"},
    "kernels/cpu": {"core", "kernels"},
    "kernels/simt": {"core"},
    "kernels/cuda": {"core", "kernels", "kernels/simt"},
    "ops": {"core", "kernels", "kernels/cuda"},
    "model": {"core", "config", "ops"},
    "export": {"core", "config", "data", "checkpoint"},
    "train": {"core", "config", "comm", "data", "checkpoint", "metrics", "model", "ops"},
    "infer": {"core", "checkpoint", "ops", "train"},
    "verify": {"core", "config", "checkpoint", "ops", "train"},
    "compare": {"core", "config", "comm", "data", "metrics", "ops", "train"},
    "bench": {"core", "config", "comm", "ops", "train"},
    "check": {"core", "config", "checkpoint", "kernels", "kernels/cuda", "ops", "train", "bench"},
    "app": {"core", "config", "comm", "data", "checkpoint", "metrics", "model", "ops", "train", "infer", "verify",
            "compare", "bench", "check", "export"},
}
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def room_of(path):
    """The room of a file or an included header, from its path from the root or from src/."""
    parts = path.parts[1:] if path.parts[0] == "src" else path.parts
    folders = parts[:-1]
    return "/".join(folders[:2] if folders[0] == "kernels" else folders[:1]) if folders else ""


def offences(files):
    """files: {relative path: text}. Yields (path, included, why)."""
    for path, text in sorted(files.items()):
        room = room_of(path)
        if room not in ALLOWED:
            yield path, "", f"no such room: {room}"
            continue
        for included in INCLUDE.findall(text):
            target = room_of(pathlib.PurePath(included))
            if target not in ALLOWED:
                yield path, included, "project headers are included by their path from src/ or the root"
            elif target != room and target not in ALLOWED[room]:
                yield path, included, f"{room} may only see {', '.join(sorted(ALLOWED[room])) or 'itself'}"


def self_test():
    upward = {pathlib.PurePath("src/core/x.h"): '#include "train/trainer.h"\n'}
    kernels_up = {pathlib.PurePath("kernels/x.h"): '#include "kernels/cuda/device.cuh"\n'}
    sideways = {pathlib.PurePath("src/data/x.h"): '#include "checkpoint/checkpoint.h"\n'}
    fine = {pathlib.PurePath("src/model/x.cpp"): '#include "ops/ops.h"\n#include "model/y.h"\n#include <vector>\n'}
    assert list(offences(upward)) and list(offences(kernels_up)) and list(offences(sideways)) and not list(offences(fine))


def main():
    self_test()
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    files = {p.relative_to(root): p.read_text() for top in ("src", "kernels") for p in (root / top).rglob("*")
             if p.suffix in SOURCES}
    found = list(offences(files))
    for path, included, why in found:
        print(f"{path}: includes {included}: {why}" if included else f"{path}: {why}")
    print(f"{len(files)} files, {len(found)} offences")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
