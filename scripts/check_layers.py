#!/usr/bin/env python3
"""Checks that layers point one way: every #include of a project header must follow the table below.

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
    "kernels": {"core"},
    "ops": {"core", "kernels"},
    "model": {"core", "config", "ops"},
    "export": {"core", "config", "data", "checkpoint"},
    "train": {"core", "config", "comm", "data", "checkpoint", "metrics", "model", "ops"},
    "bench": {"core", "config", "comm", "ops", "train"},
    "check": {"core", "config", "checkpoint", "kernels", "ops", "train", "bench"},
    "app": {"core", "config", "comm", "data", "checkpoint", "metrics", "model", "ops", "train", "bench", "check",
            "export"},
}
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def room_of(path):
    parts = path.parts
    return parts[1] if parts[0] == "src" else parts[0]


def offences(files):
    """files: {relative path: text}. Yields (path, included, why)."""
    for path, text in sorted(files.items()):
        room = room_of(path)
        if room not in ALLOWED:
            yield path, "", f"no such room: {room}"
            continue
        for included in INCLUDE.findall(text):
            target = pathlib.PurePath(included).parts[0]
            if target not in ALLOWED:
                yield path, included, "project headers are included by their path from src/ or the root"
            elif target != room and target not in ALLOWED[room]:
                yield path, included, f"{room} may only see {', '.join(sorted(ALLOWED[room])) or 'itself'}"


def self_test():
    upward = {pathlib.PurePath("src/core/x.h"): '#include "train/trainer.h"\n'}
    sideways = {pathlib.PurePath("src/data/x.h"): '#include "checkpoint/checkpoint.h"\n'}
    fine = {pathlib.PurePath("src/model/x.cpp"): '#include "ops/ops.h"\n#include "model/y.h"\n#include <vector>\n'}
    assert list(offences(upward)) and list(offences(sideways)) and not list(offences(fine))


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
