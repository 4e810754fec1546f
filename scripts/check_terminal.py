#!/usr/bin/env python3
"""Checks that all output is safe for terminals, whatever names it contains: it must go through print(), std::cout and
std::cerr, which src/app/terminal.h filters, or the Console. Only src/app may print.

    scripts/check_terminal.py [ROOT]        exit 1 and a line per offence
"""
import pathlib
import re
import sys

APP = "src/app/"
# what -> (pattern, files that may, what to use instead)
RULES = {
    "printf": (r"\b(?:std::|::)?v?f?printf\s*\(|\b(?:puts|putchar|fputc|putc|perror)\s*\(", set(), "print()"),
    "fputs and fwrite": (r"\bf(?:puts|write)\s*\(", {"src/app/main.cpp"}, "std::cerr; constants alone in main.cpp"),
    "spdlog": (r"\bspdlog::", {"src/app/console.cpp"}, "the Console"),
}
IN_APP = {"an escape sequence": (r"\\033|\\x1[bB]|\\e\[", set(), "clear_line()")}
ELSEWHERE = {"a printing stream": (r"\bstd::(?:cout|cerr|clog)\b", set(), "an observer or an error: only src/app prints")}


def offences(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r"(^|\s)//\s.*", "", line)
        for what, (pattern, exempt, instead) in {**RULES, **(IN_APP if path.startswith(APP) else ELSEWHERE)}.items():
            if path not in exempt and path != "src/app/terminal.cpp" and re.search(pattern, code):
                yield f"{path}:{number}: {what}; use {instead}"


def self_test():
    bad = ['std::printf("%s", name);', 'fprintf(stderr, "x");', 'std::cerr << "\\033[2K";', 'spdlog::info(line);', 'fputs(a, stdout);']
    assert all(list(offences("src/app/x.cpp", line)) for line in bad)
    assert list(offences("src/train/x.cpp", "std::cerr << 1;")) and not list(offences("src/app/x.cpp", "std::cerr << 1;"))
    assert not list(offences("src/app/x.cpp", 'std::snprintf(a, 4, "%d", 1); print("%s", b); // printf('))


def main():
    self_test()
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    found = [line for path in sorted((root / "src").rglob("*")) if path.suffix in {".h", ".cpp"}
             for line in offences(str(path.relative_to(root)), path.read_text())]
    print("\n".join(found) or "all is printed where it is guarded")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
