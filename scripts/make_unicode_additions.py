#!/usr/bin/env python3
"""Writes src/data/unicode_additions.h: characters that the `tokenizers` library knows and Unicode 14 does not.

    scripts/make_unicode_additions.py > src/data/unicode_additions.h

Needs the pip package `tokenizers` and a Python whose unicodedata is 14.0 (Python 3.11).
"""
import sys
import unicodedata

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp".split()

HEAD = """\
// Written by scripts/make_unicode_additions.py: what Unicode 15 to 16 added to the general categories.
#pragma once

namespace saslm {

struct UnicodeAddition {
  const char* category;
  char32_t first, last;
};

constexpr UnicodeAddition kUnicodeAdditions[] = {"""


def ranges(numbers):
    out = []
    for n in sorted(numbers):
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return out


def main():
    try:
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import Split
    except ImportError:
        sys.exit("the tokenizers library is missing: pip install tokenizers")
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"wanted Unicode 14.0.0 in this Python, got {unicodedata.unidata_version}")
    unassigned = "".join(c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cn")
    print(HEAD)
    for category in CATEGORIES:
        split = Split(Regex(r"\p{%s}" % category), "removed", invert=True)
        added = ranges(ord(c) for piece, _ in split.pre_tokenize_str(unassigned) for c in piece)
        for first, last in added:
            print(f'    {{"{category}", 0x{first:x}, 0x{last:x}}},')
    print("};\n\n}  // namespace saslm")


if __name__ == "__main__":
    main()
