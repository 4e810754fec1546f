#include <sys/stat.h>

#include <numeric>
#include <thread>

#include "data/token_set.h"
#include "data/tokenize.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using test::TempDir;
using test::write_bytes;

// One id per run of equal letters, so that where the text is cut matters: "aab" -> 'a', 'b'.
class RunTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "runs"; }
  std::string fingerprint() const override { return "runs"; }
  int64_t vocab_size() const override { return 100'000; }
  int32_t boundary() const override { return 99'999; }
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<RunEncoder>(); }
  std::string decode(std::span<const int32_t>) const override { return ""; }

 private:
  struct RunEncoder : Encoder {
    size_t encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) override {
      size_t at = 0;
      while (at < std::min(until, text.size())) {
        const size_t end = std::min(text.find_first_not_of(text[at], at), text.size());
        if (open && end == text.size()) break;
        ids.push_back(text[at]);
        at = end;
      }
      return at;
    }
  };
};

std::vector<int32_t> tokens_under(const TempDir& dir, const std::vector<std::string>& files) {
  std::vector<int32_t> tokens;
  for (const std::string& file : files) {
    const ShardFile shard(dir / ("out/" + file));
    const size_t before = tokens.size();
    tokens.resize(before + size_t(shard.n_tokens()));
    shard.read(0, shard.n_tokens(), tokens.data() + before);
  }
  return tokens;
}

// The token stream of texts written to one file each, boundaries shown as '|'.
std::string stream_of(const std::vector<std::string>& texts, const std::string& separator = "<SEP>") {
  TempDir dir;
  TokenizeOptions options = {.out_dir = dir / "out", .separator = separator};
  for (size_t i = 0; i < texts.size(); ++i) {
    options.inputs.push_back(dir / std::to_string(i));
    write_bytes(options.inputs.back(), texts[i]);
  }
  const TokenizeResult made = tokenize_files(ByteTokenizer(), options);
  std::string stream = ByteTokenizer().decode(tokens_under(dir, made.info.files));
  std::replace(stream.begin(), stream.end(), '\0', '|');
  return stream;
}

TEST(Tokenize, OnePlainDocumentIsExactlyItsBytes) {
  EXPECT_EQ(stream_of({"h\xc3\xa9llo\r\n\n"}), "h\xc3\xa9llo\r\n\n");
}

TEST(Tokenize, BoundariesStandOnlyBetweenDocuments) {
  EXPECT_EQ(stream_of({"a\n<SEP>\nb\n"}), "a\n|b\n");
  EXPECT_EQ(stream_of({"<SEP>\na\n<SEP>\n<SEP>\nb\n<SEP>\n", "", "c", "<SEP>", "d"}), "a\n|b\n|c|d");
  EXPECT_EQ(stream_of({"a\r\n<SEP>\r\nb"}), "a\r\n|b");
}

TEST(Tokenize, OnlyAWholeLineSeparates) {
  for (const char* text : {"a<SEP>\nb", " <SEP>\nb", "<SEP> \nb", "<SEP><SEP>\n", "<SEP", "x\n<SEP>y"}) {
    EXPECT_EQ(stream_of({text}), text);
  }
  EXPECT_EQ(stream_of({"a\n<SEP>\n\nb"}, ""), "a\n<SEP>\n\nb");
}

TEST(Tokenize, SeparatorsAreFoundWhereverReadsHappenToEnd) {
  constexpr size_t kChunk = 1 << 20;
  for (size_t before = kChunk - 9; before <= kChunk + 1; ++before) {
    std::string text(before, 'x');
    text[before - 1] = '\n';
    EXPECT_TRUE(stream_of({text + "<SEP>\ny"}) == text + "|y") << before;
    EXPECT_TRUE(stream_of({text + "<SEP>z\ny"}) == text + "<SEP>z\ny") << before;
  }
}

TEST(Tokenize, ResultAndJsonCountWhatWasWritten) {
  TempDir dir;
  write_bytes(dir / "in", std::string("ab\n<SEP>\nc\0d", 12));
  int64_t seen = 0;
  const TokenizeResult made =
      tokenize_files(ByteTokenizer(), {.inputs = {dir / "in", dir / "in"},
                                       .out_dir = dir / "out",
                                       .separator = "<SEP>",
                                       .tokens_per_shard = 5,
                                       .progress = [&](const TokenizeProgress& p) { seen = p.bytes_read; }});
  EXPECT_EQ(seen, 24);
  EXPECT_EQ(made.boundaries_in_text, 2);
  EXPECT_EQ(made.info.documents, 4);
  EXPECT_EQ(made.info.bytes, 12);
  EXPECT_EQ(made.info.tokens, 15);
  EXPECT_EQ(made.info.files,
            (std::vector<std::string>{"tokens_000000.bin", "tokens_000001.bin", "tokens_000002.bin"}));
  EXPECT_EQ(to_json(read_shard_info(made.info_path).value()), to_json(made.info));

  const TokenSet set({dir / "out/tokens_*.bin"}, 256, 4);
  EXPECT_EQ(set.n_tokens(), 15);
  EXPECT_EQ(set.tokenizer(), "bytes");
  EXPECT_DOUBLE_EQ(set.bytes_per_token().value(), 12.0 / 15);
}

TEST(Tokenize, ATokenizerThatLooksAheadIsNotCutShort) {
  TempDir dir;
  std::string text(3 << 20, 'a');  // one run through several reads
  text += "bb\n<SEP>\nbb";
  write_bytes(dir / "in", text);
  const TokenizeResult made =
      tokenize_files(RunTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir / "out", .separator = "<SEP>"});
  EXPECT_EQ(tokens_under(dir, made.info.files), (std::vector<int32_t>{'a', 'b', '\n', 99'999, 'b'}));
  EXPECT_EQ(ShardFile(dir / "out/tokens_000000.bin").format(), ShardFormat::llmc_u32);  // by vocabulary
}

TEST(Tokenize, ReadsAPipe) {
  TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { write_bytes(dir / "pipe", "through a pipe"); });
  const TokenizeResult made =
      tokenize_files(ByteTokenizer(), {.inputs = {dir / "pipe"}, .out_dir = dir / "out"});
  writer.join();
  EXPECT_EQ(ByteTokenizer().decode(tokens_under(dir, made.info.files)), "through a pipe");
}

TEST(Tokenize, UnusableInputIsNamedAndLeavesNothing) {
  TempDir dir;
  write_bytes(dir / "good", "text");
  write_bytes(dir / "empty", "");
  const auto run = [&](const std::vector<std::string>& inputs) {
    return tokenize_files(ByteTokenizer(), {.inputs = inputs, .out_dir = dir / "out"});
  };
  EXPECT_DATA_ERROR(run({}), "no input");
  EXPECT_DATA_ERROR(run({dir / "good", dir / "absent"}), dir / "absent");
  EXPECT_DATA_ERROR(run({dir / "good", dir.path()}), "is a directory");
  EXPECT_DATA_ERROR(run({dir / "empty"}), dir / "empty");
  EXPECT_TRUE(std::filesystem::is_empty(dir / "out"));
}

TEST(Tokenize, ExistingOutputIsLeftAlone) {
  for (const char* name : {"tokens.json", "tokens_000003.bin", "tokens_000000.bin.tmp"}) {
    TempDir dir;
    write_bytes(dir / "in", "text");
    write_bytes(dir / name, "precious");
    EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir.path()}), name);
    EXPECT_EQ(test::read_bytes(dir / name), "precious");
    tokenize_files(ByteTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir.path(), .prefix = "other"});
  }
  TempDir dir;
  write_bytes(dir / "in", "text");
  EXPECT_DATA_ERROR(
      tokenize_files(ByteTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir.path(), .prefix = "a/b"}),
      "a/b");
}

TEST(ByteTokenizer, DecodesWhatItEncoded) {
  std::string every_byte(256, '\0');
  std::iota(every_byte.begin(), every_byte.end(), '\0');
  const std::vector<int32_t> ids = ByteTokenizer().encode(every_byte);
  ASSERT_EQ(ids.size(), 256u);
  EXPECT_EQ(ids[255], 255);
  EXPECT_EQ(ByteTokenizer().decode(ids), every_byte);
  EXPECT_DATA_ERROR(ByteTokenizer().decode(std::vector<int32_t>{256}), "token 256");
}

TEST(MakeTokenizer, NamesWhatIsNotThere) {
  EXPECT_EQ(make_tokenizer("bytes")->name(), "bytes");
  EXPECT_DATA_ERROR(make_tokenizer("gpt2.json"), "gpt2.json");
}

}  // namespace
}  // namespace saslm
