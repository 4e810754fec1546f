"""`saslm tokenize` with parquet: the same shards as from JSON lines, or, without Arrow, a refusal. pyarrow writes the
files, if python3 has it."""
import json
import os
import random
import subprocess
import sys
import unittest

from harness import DONE, PATIENCE_S, USER, _command, main
from tokenizing import Tokenizing

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    pyarrow = None


def reads_parquet():
    """As the build says (ctest), else as the program does."""
    if "SASLM_PARQUET" in os.environ:
        return os.environ["SASLM_PARQUET"] == "ON"
    with open(os.environ["SASLM"], "rb") as program:
        return b"has no Arrow" not in program.read()


def sample_texts(count, seed=1):
    draw = random.Random(seed)
    words = ["the", "quick", "brown", "\n", "über", "日本語", "<|endoftext|>\n", "12", "\0", "", "\"quoted\"", "🙂"]
    return [" ".join(draw.choices(words, k=draw.choice((0, 1, 5, 80, 400)))) for _ in range(count)]


class ParquetTest(Tokenizing):
    def shards(self, *args):
        return {path.name: path.read_bytes() for path in self.tokenize(*args)[0].iterdir()}


class ByName(ParquetTest):
    def test_what_is_called_parquet_and_is_not_is_refused(self):
        path = self.write("a.parquet", b"version https://git-lfs.github.com/spec/v1\n")
        for given in (path, path.parent):
            out, said = self.tokenize("--input", given, code=USER)
            self.assertIn(f"{path}: named .parquet, but it does not start like a parquet file", said)
            self.assertFalse(out.exists())
        self.tokenize("--input", path, "--format", "text")

    def test_without_arrow_it_is_refused_and_the_way_out_said(self):
        if reads_parquet():
            self.skipTest("this build reads parquet")
        path = self.write("a.parquet", b"PAR1\x15\x00\x15\x00PAR1")
        (path.parent / "b.txt").write_bytes(b"text")
        for given in (path, path.parent):  # in a folder, too: no build makes other shards than another
            out, said = self.tokenize("--input", given, code=USER)
            for words in (str(path), "a parquet file", "pandas.read_parquet", "has no Arrow"):
                self.assertIn(words, said)
            self.assertFalse(out.exists())


class WithArrow(ParquetTest):
    @classmethod
    def setUpClass(cls):
        why_not = "this build has no Arrow" if not reads_parquet() else \
            "python3 has no pyarrow, which writes the files" if pyarrow is None else ""
        if why_not:
            print(f"Not run, all of WithArrow: {why_not}", file=sys.stderr)
            raise unittest.SkipTest(why_not)
        super().setUpClass()

    def parquet(self, columns, name="a.parquet", **options):
        path = self.write(name, b"")
        pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)
        return path

    def lines(self, texts):
        return self.write("a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts).encode())

    def refused(self, path, *args, words):
        out, said = self.tokenize("--input", path, *args, code=USER)
        for word in (str(path), *words):
            self.assertIn(word, said)
        self.assertFalse(out.exists() and any(out.iterdir()), said)
        return said

    def test_the_shards_are_those_of_json_lines(self):
        texts = sample_texts(700)
        cut = ["--shard-tokens", "50000"]
        wanted = self.shards("--input", self.lines(texts), *cut)
        self.assertGreater(len(wanted), 3)
        for options in ({"compression": "snappy"}, {"compression": "zstd", "row_group_size": 64},
                        {"compression": "gzip", "row_group_size": 1, "data_page_version": "2.0"},
                        {"compression": "none", "use_dictionary": False, "data_page_size": 1000},
                        {"compression": "brotli", "use_dictionary": ["text"], "write_page_checksum": True},
                        {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY", "n": "PLAIN"}},
                        {"use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY", "n": "PLAIN"}}):
            path = self.parquet({"n": list(range(len(texts))), "text": texts}, **options)
            self.assertTrue(self.shards("--input", path, *cut) == wanted, options)
        for kind in (pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
            column = pyarrow.array(texts, pyarrow.string()).cast(kind)
            self.assertTrue(self.shards("--input", self.parquet({"text": column}), *cut) == wanted, kind)
        required = pyarrow.schema([pyarrow.field("text", pyarrow.string(), nullable=False)])
        path = self.write("plain_name", b"")  # told by its first bytes
        pyarrow.parquet.write_table(pyarrow.table([texts], schema=required), path)
        self.assertTrue(self.shards("--input", path, *cut) == wanted, required)

    def test_columns_by_name_and_within_structs(self):
        wanted = self.shards("--input", self.lines(["one", "", "two"]))
        bodies = [{"body": text, "n": 1} for text in ("one", "", "two")]
        path = self.parquet({"content": ["one", "", "two"], "meta": bodies, "deep": [{"a": body} for body in bodies]})
        for field in ("content", "meta.body", "deep.a.body"):
            self.assertTrue(self.shards("--input", path, "--field", field) == wanted, field)
        self.refused(path, words=["wanted a column of strings named \"text\"", "\"content\" (string)",
                                  "\"meta\" (struct)", "--field"])
        self.refused(path, "--field", "meta.x", words=["\"meta.x\"", "the fields of \"meta\"", "\"body\" (string)"])
        self.refused(path, "--field", "content.x", words=["\"content\" is of type string, not struct"])
        self.refused(path, "--field", "meta", words=["it is of type struct"])
        other = self.parquet({"i": [1], "b": [b"bytes"], "l": [["a"]], "m": pyarrow.array(
            [[("k", "v")]], pyarrow.map_(pyarrow.string(), pyarrow.string())), "d": [1.5]})
        for field, kind in {"i": "INT64", "b": "binary", "l": "list", "m": "map", "d": "DOUBLE"}.items():
            self.refused(other, "--field", field, words=[f"it is of type {kind}", "\"l\" (list)"])
        self.refused(other, "--field", "l.x", words=["is of type list, not struct"])

    def test_rows_without_a_text_are_refused_with_their_number(self):
        texts = sample_texts(600)
        path = self.parquet({"text": texts[:500] + [None] + texts}, row_group_size=300)
        self.refused(path, words=["row 501 of 1101", "wanted a string under \"text\", got null"])
        path = self.parquet({"a": [{"b": "x"}, None, {"b": None}]})
        self.refused(path, "--field", "a.b", words=["row 2 of 3", "wanted an object under \"a\", got null"])
        path = self.parquet({"a": [{"b": "x"}, {"b": None}]})
        self.refused(path, "--field", "a.b", words=["row 2 of 2", "wanted a string under \"a.b\", got null"])
        strange = pyarrow.array([b"good", b"caf\xe9"]).view(pyarrow.string())
        self.refused(self.parquet({"text": strange}), words=["row 2 of 2", "not UTF-8 from byte 3"])
        for texts in ([], ["", ""]):
            self.refused(self.parquet({"text": pyarrow.array(texts, pyarrow.string())}), words=["holds no text"])

    def test_what_is_cut_short_or_damaged_is_refused(self):
        whole = self.parquet({"text": sample_texts(900)}, row_group_size=200, write_page_checksum=True).read_bytes()
        for size in (4, 7, 8, 12, 100, len(whole) // 2, len(whole) - 1, len(whole) - 8):
            self.refused(self.write("a.parquet", whole[:size]), words=["damaged, cut short"])
        draw = random.Random(5)
        for _ in range(12):
            damaged = bytearray(whole)
            for _ in range(8):
                damaged[draw.randrange(4, len(whole) * 9 // 10)] ^= 1 << draw.randrange(8)
            said = self.refused(self.write("a.parquet", bytes(damaged)), words=["damaged, cut short"])
            self.assertNotIn("\\x0A)", said)
        for at in range(8, 600, 12):  # the footer: anything but a crash
            damaged = bytearray(whole)
            damaged[-at] ^= 1 << draw.randrange(8)
            done = subprocess.run(_command(["tokenize", "--out", self.fresh("out"), "--input",
                                            self.write("a.parquet", bytes(damaged))]), capture_output=True, timeout=PATIENCE_S)
            self.assertIn(done.returncode, (DONE, USER), f"{at}: {done.stderr}")
            self.assertNotIn(b"\\x0A)", done.stderr)

    def test_folders_patterns_pipes_and_formats(self):
        folder = self.parquet({"text": ["one"]}, "b.parquet").parent
        (folder / "a.txt").write_bytes(b"zero")
        (folder / "c.jsonl").write_bytes(b'{"text": "two"}\n')
        wanted = self.shards("--input", self.lines(["zero", "one", "two"]))
        self.assertTrue(self.shards("--input", folder) == wanted)
        self.assertTrue(self.shards("--input", folder / "*") == wanted)
        path = folder / "b.parquet"
        _, said = self.tokenize("--input", "-", stdin=path.read_bytes(), code=USER)
        self.assertIn("standard input: a parquet file", said)
        self.assertIn("give the file by name", said)
        self.refused(path, "--format", "jsonl", words=["a parquet file", "without --format"])


if __name__ == "__main__":
    main()
