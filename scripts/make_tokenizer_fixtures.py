#!/usr/bin/env python3
"""Writes tests/data/fixtures: small tokenizers, and the ids that the `tokenizers` library gives.

    scripts/make_tokenizer_fixtures.py

base.json has words of bytes, as GPT-2 has them (the same in GPT-2's two files), characters.json words of characters, as
Llama 2 has them. cases.json lists variants of both (JSON merge patches) with texts and their ids. With --compare FILE.. it writes
nothing, but prints the library's ids of whole files, for comparison by hand:

    scripts/make_tokenizer_fixtures.py --compare TOKENIZER FILE OUT      (OUT: int32, little-endian)

Needs the pip package `tokenizers`.
"""
import argparse
import array
import copy
import json
import random
import sys
import tempfile
from pathlib import Path

from train_tokenizer import PATTERNS, train

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "data" / "fixtures"

PHRASES = """the quick brown fox jumps over the lazy dog|it isn't what they'd said, I'll say; we've seen it|In 1905, 3.14159 and
12345 were printed on page 42|Grüße aus Köln, où l'été naïve façade|Съешь же ещё этих мягких французских булок|日本語のテキスト、
漢字かな交じり文。|한국어 문장입니다|שלום עולם|مرحبا بالعالم|नमस्ते दुनिया|สวัสดีชาวโลก|for (int i = 0; i < n; ++i) { sum += x[i]; }|
HTTPRequest getURL XMLHttp|emoji 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇨🇭""".replace("\n", " ").split("|")

SPACES = "\t\n\x0b\x0c\r \x1c\x85\xa0\u1680\u180e\u2000\u2007\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
TEXTS = [
    *PHRASES,
    "I'm don't DON'T 'S 'LL 'Re '\u017f 's's ''s we\u2019ve",
    "a b  c   d\n\ne \n f\t\tg\r\n\r\nh  \n\n  i   ",
    "   leading", "trailing   ", "\n", " ", "  ", "\n\n", "\r\n", " \n ", "x\n\n\n  y", "!!!\n\nz", "...\r\n\r\n  w",
    "".join("a" + s + "b" + s + s + "c" for s in SPACES),
    "1 12 123 1234 12345 1,234.56 \u0663\u0664\u0665\u0666 \u00bd\u00b2\u2167\u4e09 \U000104a0\U00010d40\U00010d41",
    # Letters, marks, symbols and digits that came with Unicode 15 to 16.
    "a\u1c89\u1c8ab \ua7cb\ua7ccx \U00031350\U00031351 \U00010d4e\U00010d6e \u2ffc\u2ffd !\u2427 \u0897a \U0001fae9?",
    "e\u0301 n\u0303 \u0915\u094d\u0937\u093f a" + "\u0300\u0301\u0302" * 3 + " \U0001d165\U0001d16e",
    "\u01c5 \u00df \ufb01 \u0130\u0131 \u212a \u017f \u1e9e", "\u202eRTL\u202c \u2066x\u2069 \u061c",
    "\0\x01\x02\x7f\x80\x9f\u00ad\ufffd\uffff\U0010ffff\ue000", "\0" * 5 + "end",
    "x" * 100, "ab" * 60, "\u5b57" * 40, "=" * 70, "\U0001f642" * 20, "aAbBcC" * 12 + "X", "zebra zebras zebra",
    "<|endoftext|>", "a<|endoftext|>b <|endoftext|> c\n<|endoftext|>\n", "<|endoftext|<|x|>|>", "<|x|><|x|", "ab abc abcd abcde bcdef",
    "    four   three  two one\t\ttabs",
    # Decomposed, out of order, excluded from composition, of Hangul, and younger than the library's normalizer.
    "e\u0301 a\u0323\u0301 a\u0301\u0323 x\u0315\u0300\u05ae q\u0345\u0323\u0301 \u1e9b\u0323 \u212b\u2126 \u0958 \ufb1d \u0340\u0344",
    "\u1100\u1161\u11a8 \uac00\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af \u304b\u3099\u30cf\u309a \u0f71\u0f72 \U0001d157\U0001d165 \U0002f800",
    "a\u0345\u07fd\u0898\u1df6 \U00011935\U00011930 b\u0301\U0001e08f\u0323", "\u0301", "\u0301\u0323 x \u0323\u0301", " \u0323\u0301",
    "the \U00011de9's \U00011de0\U00011de1 \U00016ff4\U00016ff6x 1\U00016ff5", "don\u2019T 'S '\u017f 'm'ML 'VE '\u212a 'lL",
    "\u2581", "\u2581\u2581the \u2581 x", " \u2581x", "a\u2581", "the(quick|brown)[fox].,!?\u2026\u3002\uff0c\u3001\u0964",
    "<s>the</s>", "<s> the </s> fox", "</s></s>  ", " <s>", "the<s>e\u0301</s>\u0301", "<0x41>the<0x0A>", "the <tag> fox<tag>fox", "<tag>",
]


def mixture():
    """Odd text from a fixed seed."""
    rng = random.Random(7)
    parts = []
    for _ in range(150):
        kind = rng.randrange(6)
        if kind == 0:
            parts.append("".join(chr(c) for c in (rng.randrange(limit) for limit in (0x80, 0x800, 0xd800, 0x110000))
                                 if not 0xd800 <= c < 0xe000))
        elif kind == 1:
            parts.append("".join(rng.choice(SPACES) for _ in range(rng.randrange(1, 5))))
        elif kind == 2:
            parts.append(rng.choice(["'s", "'LL", "!?", "--", "123", "\n", " ", "  ", "_a", "<|x|>", "zebra", " "]))
        else:
            parts.append(rng.choice(rng.choice(PHRASES).split(" ")))
            parts.append(rng.choice(["", " ", "\n"]))
    return "".join(parts)


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def added(token_id, content, normalized, special=False):
    return {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": normalized, "special": special}


def variants(base):
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    gpt2 = dict(bytes_only, use_regex=True)
    vocab = base["model"]["vocab"]
    size = len(vocab) + len(base["added_tokens"])
    o200k = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    deepseek = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    yield "gpt2", {}
    yield "llama3", {"pre_tokenizer": sequence(split(PATTERNS["llama3"]), bytes_only)}
    yield "cl100k", {"pre_tokenizer": sequence(split(PATTERNS["llama3"], "Removed", True), bytes_only)}
    yield "o200k", {"pre_tokenizer": sequence(split(o200k), bytes_only)}
    yield "deepseek", {"pre_tokenizer": sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(deepseek), bytes_only)}
    yield "digits_one_by_one", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, gpt2)}
    yield "digits_together", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, gpt2)}
    yield "patterns_with_gaps", {"pre_tokenizer": sequence(
        split(" ", kind="String"), split(r"[A-Z]?[a-z]+?x|(?=\p{Lu}).{2}|\S\D\P{L}"), gpt2)}
    yield "ignore_merges", {
        "model": {"ignore_merges": True, "vocab": {"zebra": len(vocab), "Ġzebra": len(vocab) + 1}},
        "added_tokens": [added(len(vocab) + 2, "<|endoftext|>", False, True)]}
    nfc = {"normalizer": {"type": "NFC"}}
    yield "qwen2", {**nfc, "pre_tokenizer": sequence(split(PATTERNS["llama3"].replace("{1,3}", "")), bytes_only)}
    yield "neox", {**nfc, "added_tokens": base["added_tokens"] + [added(size, "  ", True), added(size + 1, "e\u0301", True)]}
    yield "nfc_digits", {**nfc, "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, gpt2)}
    yield "tiktoken", {"pre_tokenizer": sequence(split(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"), bytes_only)}
    yield "nanochat", {"pre_tokenizer": sequence(split(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"), bytes_only)}
    yield "roberta", {"pre_tokenizer": dict(gpt2, add_prefix_space=True),
                      "added_tokens": base["added_tokens"] + [added(size, "<s>", False, True), added(size + 1, "<tag>", True)]}
    yield "roberta_nfc", {**nfc, "pre_tokenizer": dict(gpt2, add_prefix_space=True)}
    yield "bloom", {"pre_tokenizer": sequence(split(" ?[^(\\s|[.,!?…。，、।۔،])]+"), bytes_only)}
    contents = {"    ": True, "  ": True, "\t\t": True, "abcd": True, "bcdef": False, "<|x|>": False, "<|": True, "👍🏽": False,
                "q": False, "n't": True}
    new = [content for content in contents if content not in vocab]
    yield "added_tokens", {"added_tokens": base["added_tokens"] + [
        added(vocab.get(content, size + new.index(content) if content in new else None), content, normalized)
        for content, normalized in contents.items()]}


def variants_of_characters(base):
    """As variants(), of characters.json."""
    def prepend(*others):
        return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace, *others]}

    def metaspace(scheme, cut):
        return {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}}

    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    size = len(base["model"]["vocab"])
    tag = {"added_tokens": base["added_tokens"] + [added(size, "<tag>", True)]}
    yield "llama2", {}
    yield "llama2_normalized_token", tag
    yield "llama2_nfc", {"normalizer": prepend({"type": "NFC"})}
    yield "llama2_digits", {"pre_tokenizer": {"type": "Digits", "individual_digits": True}}
    yield "gemma", {"normalizer": replace, "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String")}
    for scheme in ("first", "always", "never"):
        yield f"metaspace_{scheme}", {**metaspace(scheme, False), **tag}
        yield f"metaspace_{scheme}_split", {**metaspace(scheme, True), **tag}
    yield "metaspace_ignore_merges", {**metaspace("first", True), "model": {"ignore_merges": True, "vocab": {
        "▁zebra": size, "zebra": size + 1, "▁▁": base["model"]["vocab"].get("▁▁", size + 2)}}}
    yield "metaspace_older", {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}}
    yield "no_marks", {"normalizer": None, "pre_tokenizer": split(r"\p{L}+|\s")}
    yield "byte_tokens_added", {"added_tokens": base["added_tokens"] + [
        added(base["model"]["vocab"][f"<0x{byte:02X}>"], f"<0x{byte:02X}>", False, True) for byte in (0x0a, 0x41)]}


def train_characters(corpus):
    """A tokenizer as Llama 2's: nothing splits text, spaces are ▁, bytes stand in for characters without a word."""
    from tokenizers import Tokenizer, models, normalizers, trainers
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    first = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=620, min_frequency=2, show_progress=False, special_tokens=first,
                                                              limit_alphabet=150))
    base = json.loads(tokenizer.to_str())
    base["added_tokens"] = base["added_tokens"][:3]  # bytes are words, not tokens to look for
    return base


def from_json(text):
    from tokenizers import Tokenizer
    return Tokenizer.from_str(text)


def from_pair(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def merge_patch(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        result[key] = merge_patch(result.get(key), value)
    return result


def compare(tokenizer, text, out):
    path = Path(tokenizer)
    made = from_pair(path) if path.is_dir() else from_json(path.read_text(encoding="utf-8"))
    with open(text, encoding="utf-8", newline="") as file:
        ids = ids_of(made, file.read())
    Path(out).write_bytes(array.array("i", ids).tobytes())
    print(f"{len(ids)} ids")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compare", nargs=3, metavar=("TOKENIZER", "FILE", "OUT"))
    args = parser.parse_args()
    if args.compare:
        return compare(*args.compare)

    FIXTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(PHRASES * 3 + [p.title() for p in PHRASES]), encoding="utf-8")
        base = json.loads(train([corpus], 700).to_str())
        characters = train_characters(PHRASES * 3 + ["  ".join(PHRASES[:3])])
    texts = TEXTS + [mixture()]
    cases = []
    for file, whole, patches in (("base.json", base, variants(base)), ("characters.json", characters, variants_of_characters(characters))):
        for name, patch in patches:
            tokenizer = from_json(json.dumps(merge_patch(copy.deepcopy(whole), patch)))
            cases.append({"name": name, "base": file, "patch": patch, "ids": [ids_of(tokenizer, text) for text in texts]})

    def write(name, value):
        (FIXTURES / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")

    write("base.json", base)
    write("characters.json", characters)
    write("encoder.json", {**base["model"]["vocab"], "<|endoftext|>": len(base["model"]["vocab"])})
    merges = [" ".join(pair) for pair in base["model"]["merges"]]
    (FIXTURES / "vocab.bpe").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    pair = from_pair(FIXTURES)
    cases_file = {"texts": texts, "pair": [ids_of(pair, text) for text in texts], "cases": cases}
    (FIXTURES / "cases.json").write_text(json.dumps(cases_file, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
