#!/usr/bin/env python3
"""Checks that CMakeLists.txt, CITATION.cff and the newest entry of CHANGELOG.md name one version, the last two one date.

    scripts/check_versions.py [ROOT]        exit 1 and what each file says; first a self-test that it can fail
"""
import pathlib
import re
import sys

VERSION = r"(\d+\.\d+\.\d+)"
DATE = r"(\d{4}-\d\d-\d\d)"
# (file, what): where it stands; the first match counts
PLACES = {
    ("CMakeLists.txt", "version"): rf"^project\(saslm VERSION {VERSION}\b",
    ("CITATION.cff", "version"): rf"^version: {VERSION}$",
    ("CHANGELOG.md", "version"): rf"^## \[{VERSION}\]",
    ("CITATION.cff", "date"): rf"^date-released: {DATE}$",
    ("CHANGELOG.md", "date"): rf"^## \[\d[^\]]*\] - {DATE}$",
}


def offences(texts):
    """texts: {file: text}. Yields a line for each missing item and each difference between the files."""
    for what in ("version", "date"):
        said = {}
        for (file, kind), pattern in PLACES.items():
            if kind != what:
                continue
            found = re.search(pattern, texts[file], re.M)
            if found:
                said[file] = found.group(1)
            else:
                yield f"{file}: no {what}, which is looked for as {pattern}"
        if len(set(said.values())) > 1:
            yield f"{what}s differ: " + ", ".join(f"{file} {value}" for file, value in said.items())


def self_test():
    def texts(cmake, citation, log, day="2026-01-02"):
        return {"CMakeLists.txt": f"project(saslm VERSION {cmake} LANGUAGES CXX)\n",
                "CITATION.cff": f"cff-version: 1.2.0\nversion: {citation}\ndate-released: 2026-01-02\n",
                "CHANGELOG.md": f"# Changelog\n\n## [{log}] - {day}\n\n## [0.0.1] - 2025-01-01\n"}
    assert not list(offences(texts("1.2.3", "1.2.3", "1.2.3")))
    for other in (("1.2.4", "1.2.3", "1.2.3"), ("1.2.3", "1.2.4", "1.2.3"), ("1.2.3", "1.2.3", "1.2.4"),
                  ("1.2.3", "1.2.3", "1.2.3", "2026-01-03"), ("x", "1.2.3", "1.2.3")):
        assert list(offences(texts(*other)))


def main():
    self_test()
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    texts = {file: (root / file).read_text() for file in {file for file, _ in PLACES}}
    found = list(offences(texts))
    for line in found:
        print(line)
    print(f"{len(texts)} files, {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
