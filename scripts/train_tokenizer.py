#!/usr/bin/env python3
"""Trains a byte-level BPE on text files and writes a tokenizer.json that `saslm tokenize --tokenizer` reads.

    scripts/train_tokenizer.py --input book1.txt book2.txt --vocab-size 8192 --out tokenizer.json

All 256 bytes are in its vocabulary, so any text comes back from its ids; <|endoftext|> has the highest id and stands
between documents. Lines that consist of the separator are not trained on. Needs the pip package `tokenizers`.
"""
import argparse
import sys
from pathlib import Path

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # Llama 3 and GPT-4: contractions in any case, at most three digits together, line ends apart from blanks.
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
BOUNDARY = "<|endoftext|>"
CHUNK = 1 << 16  # characters passed to the trainer at once; pieces across two chunks are split


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", nargs="+", required=True, type=Path, help="text files, UTF-8")
    parser.add_argument("--vocab-size", type=int, default=8192, help="size of the vocabulary (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("tokenizer.json"), help="default %(default)s")
    parser.add_argument("--pattern", choices=PATTERNS, default="gpt2", help="how text is split into pieces")
    parser.add_argument("--separator", default=BOUNDARY, help="lines that consist of this text are omitted")
    parser.add_argument("--special", nargs="*", default=[], help="more special tokens, besides " + BOUNDARY)
    parser.add_argument("--min-frequency", type=int, default=2, help="rarer pairs are not merged")
    args = parser.parse_args()
    least = 256 + 1 + len(args.special)
    if args.vocab_size < least:
        parser.error(f"--vocab-size: wanted at least {least} (256 bytes and the special tokens), got {args.vocab_size}")
    for path in args.input:
        if not path.is_file():
            parser.error(f"--input: {path} is not a file")
    if not args.out.parent.is_dir():
        parser.error(f"--out: the folder {args.out.parent} does not exist")
    return args


def chunks(paths, separator):
    for path in paths:
        lines, length = [], 0
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            for line in file:
                if line.rstrip("\r\n") != separator:
                    lines.append(line)
                    length += len(line)
                if length >= CHUNK:
                    yield "".join(lines)
                    lines, length = [], 0
        yield "".join(lines)


def train(paths, vocab_size, pattern="gpt2", separator=BOUNDARY, special=(), min_frequency=2, ignore_merges=False):
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        sys.exit("the tokenizers library is missing: pip install tokenizers")
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if pattern == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    last = [*special, BOUNDARY]
    tokenizer.train_from_iterator(chunks(paths, separator), trainers.BpeTrainer(
        vocab_size=vocab_size - len(last), min_frequency=min_frequency, show_progress=sys.stderr.isatty(),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in last])
    return tokenizer


def main():
    args = arguments()
    tokenizer = train(args.input, args.vocab_size, args.pattern, args.separator, args.special, args.min_frequency)
    tokenizer.save(str(args.out))
    print(f"{args.out}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
