#!/usr/bin/env python3
"""Checks the links of every Markdown file that git knows: files and images exist, #anchors are headings; and that test files
named in `code` (`app/test_x.py`, `test_x.cpp`) exist, but for names with foo and pages about other projects. No network.

    scripts/check_links.py [ROOT]        exit 1 and a line per broken link; first a self-test that it can fail
"""
import pathlib
import re
import shutil
import subprocess
import sys
import unicodedata
import urllib.parse

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
INLINE = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?"
                    r"(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)")
INNER = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^\s()<>]+)>?[^()]*\)")  # an image within a link's text
REFERENCE = re.compile(r"^ {0,3}\[([^\]]+)\]:\s*<?([^\s>]+)>?")
HTML = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)\s*=\s*[\"']([^\"']+)[\"']", re.I)
NAMED = re.compile(r"<[a-z]+\b[^>]*?\b(?:id|name)\s*=\s*[\"']([^\"']+)[\"']", re.I)
TEST = re.compile(r"`((?:[a-z_]+/)*test_(?!\w*foo)[a-z0-9_]+\.(?:cpp|py))`")
OTHERS_FILES = {"docs/peers.md"}
SCHEME = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.I)


def prose(text):
    """(number, line) of the lines outside of fenced blocks."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if fence is None and mark:
            fence = mark.group(1)
        elif fence is None:
            yield number, line
        elif mark and line.strip() == mark.group(1) and mark.group(1).startswith(fence):
            fence = None


def slug(heading):
    """GitHub's anchor of a heading: its text without markup, in small letters, without punctuation, spaces as hyphens."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"<[^>]+>|[`*]", "", text).strip().lower()
    kept = (c for c in text if c in " -_" or unicodedata.category(c)[0] in "LNM")
    return "".join(kept).replace(" ", "-")


def anchors(text):
    found, count = set(), {}
    for _, line in prose(text):
        found.update(NAMED.findall(line))
        heading = HEADING.match(line)
        if heading:
            name = slug(heading.group(2))
            found.add(f"{name}-{count[name]}" if name in count else name)
            count[name] = count.get(name, 0) + 1
    return found


def links(text):
    """(number of the line, target) of every link and image; those whose text spans lines included."""
    lines = list(prose(text))
    for number, line in lines:
        reference = REFERENCE.match(line)
        if reference:
            yield number, reference.group(2)
    joined, starts = "", []
    for number, line in lines:
        starts.append((len(joined), number))
        joined += line + "\n"
    joined = CODE.sub(lambda match: " " * len(match.group(0)), joined)
    for pattern in (INLINE, INNER, HTML):
        for match in pattern.finditer(joined):
            yield max(s for s in starts if s[0] <= match.start())[1], match.group(1)


def broken(files, exists):
    """files: {path of a Markdown file: its text}; exists(path) of any other. Yields (path, line, target, why)."""
    for path, text in sorted(files.items()):
        for number, target in sorted(set(links(text))):
            if SCHEME.match(target):
                continue
            name, _, anchor = urllib.parse.unquote(target).partition("#")
            if name.startswith("/"):
                yield path, number, target, "is absolute; links are relative to the file"
                continue
            to = pathlib.PurePosixPath(*normal(path.parent / name)) if name else path
            if ".." in to.parts:
                yield path, number, target, "leads out of the repository"
            elif not (to in files or exists(to)):
                yield path, number, target, "there is no such file in git"
            elif anchor and to in files and anchor not in anchors(files[to]):
                yield path, number, target, f"{to} has no heading with this anchor"


def missing_tests(files, known):
    """Yields as broken() does; known: all files. A name may leave out "tests/", or all folders."""
    tests = [f"/{path}" for path in known if path.name.startswith("test_")]
    for path, text in sorted(files.items()):
        if str(path) in OTHERS_FILES:
            continue
        for number, line in prose(text):
            for name in TEST.findall(line):
                if not any(test.endswith("/" + name) for test in tests):
                    yield path, number, name, "there is no such test"


def normal(path):
    parts = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return parts


def self_test():
    page = pathlib.PurePosixPath("docs/a.md")
    other = pathlib.PurePosixPath("b.md")
    texts = {other: "# One `two`, three!\n\n## Same\n\n## Same\n\n```sh\n# no heading\n```\n"}
    good = ["[x](../b.md)", "[x](../b.md#one-two-three)", "[x](../b.md#same-1)", "![x](p.svg)", "[x](https://e.org/#y)",
            "`[x](none.md)`", "```\n[x](none.md)\n```", "[a\nb](p.svg)", '[x](p.svg "title")', "[x]: p.svg", "[x](../docs)",
            "[![x](p.svg)](../b.md)"]
    bad = ["[x](none.md)", "[x](../b.md#no-heading)", "[x](../b.md#same-2)", "![x](none.svg)", "[x](../../b.md)", "[x](/b.md)",
           "[a\nb](none.md)", "[x]: none.md", '<img src="none.svg">', "[x](#none)", "[![x](none.svg)](../b.md)",
           "```\n```\n[x](none.md)"]
    there = {pathlib.PurePosixPath("docs/p.svg"), pathlib.PurePosixPath("docs")}
    for text in good:
        found = list(broken({**texts, page: text}, there.__contains__))
        assert not found, (text, found)
    for text in bad:
        assert len(list(broken({**texts, page: text}, there.__contains__))) == 1, text
    tests = [pathlib.PurePosixPath("tests/app/test_x.py")]
    for text, count in {"`app/test_x.py`, `tests/app/test_x.py`, `test_x.py`, `a/test_foo.cpp`, `test_X.cpp`": 0,
                        "`train/test_x.py`": 1, "`app/test_y.py`": 1, "`est_x.py` `test_x.cpp`": 1}.items():
        assert len(list(missing_tests({page: text}, tests))) == count, text


def main():
    self_test()
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    listed = None
    if shutil.which("git"):
        listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed and listed.returncode == 0:
        known = [pathlib.PurePosixPath(name) for name in listed.stdout.split("\0") if name and (root / name).exists()]
    else:  # without git: all but what was built
        known = [pathlib.PurePosixPath(p.relative_to(root)) for p in root.rglob("*")
                 if p.is_file() and not any(part.startswith(("build", ".git")) for part in p.relative_to(root).parts[:-1])]
    there = set(known).union(*(path.parents for path in known))
    files = {path: (root / path).read_text(encoding="utf-8") for path in known if path.suffix == ".md"}
    found = [*broken(files, there.__contains__), *missing_tests(files, known)]
    for path, number, target, why in found:
        print(f"{path}:{number}: {target}: {why}")
    print(f"{len(files)} files, {sum(len(set(links(text))) for text in files.values())} links, {len(found)} broken")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
