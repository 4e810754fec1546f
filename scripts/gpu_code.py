#!/usr/bin/env python3
"""Lists the GPUs for which a program or object file has machine code or PTX, read from the file itself.

  scripts/gpu_code.py FILE                        prints what it contains, and how often
  scripts/gpu_code.py FILE sm_80 compute_80 ...   exit 1 unless every unit that nvcc compiled has exactly this

nvcc puts a "fat binary" for each source into the section .nv_fatbin: a header of 16 bytes (magic 0xBA55ED50, version,
its own size, size of what follows), then entries, each with a header of its own (kind: 1 PTX, 2 machine code; its own
size at 4; size of its content at 8; the architecture at 28).
"""
import collections
import struct
import sys

MAGIC = 0xBA55ED50
KINDS = {1: "compute", 2: "sm"}


def sections(data):
    """Name and content of each section of an ELF file of 64 bits, least byte first."""
    if data[:6] != b"\x7fELF\x02\x01":
        sys.exit("wanted an ELF file of 64 bits")
    table, = struct.unpack_from("<Q", data, 40)
    size, number, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(number)]
    text = headers[names][4]
    for name, _, _, _, offset, length in headers:
        end = data.index(b"\0", text + name)
        yield data[text + name:end].decode(), data[offset:offset + length]


def units(section):
    """What each fat binary has: a list of sets such as {"compute_80", "sm_80"}."""
    found, at = [], 0
    while at + 16 <= len(section):
        magic, _, header, size = struct.unpack_from("<IHHQ", section, at)
        if magic == 0:  # padding
            at += 8
            continue
        if magic != MAGIC:
            sys.exit(f".nv_fatbin: wanted {MAGIC:#x} at {at}, got {magic:#x}")
        entry, end, codes = at + header, at + header + size, set()
        while entry < end:
            kind, _, own, content = struct.unpack_from("<HHIQ", section, entry)
            architecture, = struct.unpack_from("<I", section, entry + 28)
            codes.add(f"{KINDS.get(kind, f'kind{kind}')}_{architecture}")
            entry += own + content
        if codes:
            found.append(codes)
        at = end
    return found


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    found = [unit for name, content in sections(data) if name == ".nv_fatbin" for unit in units(content)]
    counts = collections.Counter(" ".join(sorted(unit)) for unit in found)
    for codes, number in counts.most_common():
        print(f"{number} units: {codes}")
    if not found:
        print("no code for GPUs")
    wanted = set(sys.argv[2:])
    if wanted and (not found or any(unit != wanted for unit in found)):
        sys.exit(f"wanted in every unit: {' '.join(sorted(wanted))}")


if __name__ == "__main__":
    main()
