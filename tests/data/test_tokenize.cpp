#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "core/rng.h"
#include "data/token_set.h"
#include "data/tokenize.h"
#include "tests/data/compress.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using test::OwnFolder;
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
  int64_t text_bytes(int32_t) const override { return 0; }

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

// Three bytes an id, counted from the start of the document: from anywhere else, two of three cuts are wrong.
class TripleTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "triples"; }
  std::string fingerprint() const override { return "triples"; }
  int64_t vocab_size() const override { return (1 << 24) + 1; }
  int32_t boundary() const override { return 1 << 24; }
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<TripleEncoder>(); }
  std::string decode(std::span<const int32_t>) const override { return ""; }
  int64_t text_bytes(int32_t) const override { return 0; }

 private:
  struct TripleEncoder : Encoder {
    size_t encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) override {
      size_t at = 0;
      while (at < std::min(until, text.size()) && !(open && at + 3 > text.size())) {
        int32_t id = 0;
        for (const char byte : text.substr(at, 3)) id = id << 8 | uint8_t(byte);
        ids.push_back(id);
        at += std::min<size_t>(3, text.size() - at);
      }
      return at;
    }
  };
};

std::vector<int32_t> tokens_under(const OwnFolder& dir, const std::vector<std::string>& files) {
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
  OwnFolder dir;
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
  OwnFolder dir;
  for (const char* name : {"in", "again"}) write_bytes(dir / name, std::string("ab\n<SEP>\nc\0d", 12));
  int64_t seen = 0;
  const TokenizeResult made =
      tokenize_files(ByteTokenizer(), {.inputs = {dir / "in", dir / "again"},
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
  // The bytes of the text can be counted from its tokens.
  const std::string ids = test::read_bytes(dir / "out/tokens_000000.bin").substr(1024) +
                          test::read_bytes(dir / "out/tokens_000001.bin").substr(1024) +
                          test::read_bytes(dir / "out/tokens_000002.bin").substr(1024);
  int64_t bytes = 0;
  for (size_t i = 0; i < ids.size(); i += 2) bytes += ByteTokenizer().text_bytes(uint8_t(ids[i]));
  EXPECT_EQ(bytes, made.info.bytes - made.boundaries_in_text);  // which stand for NUL
}

TEST(Tokenize, ATokenizerThatLooksAheadIsNotCutShort) {
  OwnFolder dir;
  std::string text(3 << 20, 'a');  // one run through several reads
  text += "bb\n<SEP>\nbb";
  write_bytes(dir / "in", text);
  const TokenizeResult made =
      tokenize_files(RunTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir / "out", .separator = "<SEP>"});
  EXPECT_EQ(tokens_under(dir, made.info.files), (std::vector<int32_t>{'a', 'b', '\n', 99'999, 'b'}));
  EXPECT_EQ(ShardFile(dir / "out/tokens_000000.bin").format(), ShardFormat::llmc_u32);  // by vocabulary
}

TEST(Tokenize, ShardsAreTheIdsOfWholeDocumentsOnAnyNumberOfThreads) {
  const std::string fixtures = SASLM_FIXTURES_DIR;
  const auto bpe = make_tokenizer(fixtures), spaced = make_tokenizer(fixtures + "/characters.json");
  const std::vector<std::string> words = {
      "the", " quick",  " brown", "'s", "\n", "  ", "12345", "\xff", "\xe6\x97\xa5\xe6\x9c\xac",
      "!?",  "e\u0301", "\u0323"};
  OwnFolder dir;
  std::string normalizing = test::read_bytes(fixtures + "/base.json");
  const std::string none = R"("normalizer":null)";
  normalizing.replace(normalizing.find(none), none.size(), R"("normalizer":{"type":"NFC"})");
  write_bytes(dir / "nfc.json", normalizing);
  const auto nfc = make_tokenizer(dir / "nfc.json");
  std::vector<std::string> inputs;
  std::vector<std::vector<std::string>> documents(3);
  uint64_t counter = 0;
  const auto random_below = [&](uint64_t n) {
    return uint64_t(uniform(stream_key(1, "documents"), counter++) * double(n));
  };
  for (size_t file = 0; file < documents.size(); ++file) {
    std::string text;
    for (const size_t bytes : {size_t(1'500'000), size_t(10), size_t(1 << 20)}) {
      std::string document;
      while (document.size() < bytes) document += words[random_below(words.size())];
      if (file == 1 && bytes > 1'200'000)
        document.insert(1'000'000, std::string(300'000, 'e'));  // a long word
      document += "\n";
      text += document + "<SEP>\n";
      documents[file].push_back(document);
    }
    inputs.push_back(dir / std::to_string(file));
    write_bytes(inputs.back(), text);
  }
  const ByteTokenizer byte_tokenizer;
  const TripleTokenizer triples;
  for (const Tokenizer* tokenizer : std::initializer_list<const Tokenizer*>{
           bpe.get(), spaced.get(), nfc.get(), &byte_tokenizer, &triples}) {
    std::vector<int32_t> wanted;
    for (const auto& file : documents)
      for (const std::string& document : file) {
        if (!wanted.empty()) wanted.push_back(tokenizer->boundary());
        const std::vector<int32_t> ids = tokenizer->encode(document);
        wanted.insert(wanted.end(), ids.begin(), ids.end());
      }
    for (const int threads : {1, 2, 5}) {
      const TokenizeResult made = tokenize_files(*tokenizer, {.inputs = inputs,
                                                              .out_dir = dir / "out",
                                                              .prefix = std::to_string(counter++),
                                                              .separator = "<SEP>",
                                                              .tokens_per_shard = 999'999,
                                                              .threads = threads});
      EXPECT_TRUE(tokens_under(dir, made.info.files) == wanted) << tokenizer->name() << ", " << threads;
      EXPECT_EQ(made.info.documents, 9);
      EXPECT_EQ(made.info.tokens, int64_t(wanted.size()));
    }
  }
}

TEST(Tokenize, ReadsAPipe) {
  OwnFolder dir;
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { write_bytes(dir / "pipe", "through a pipe"); });
  const TokenizeResult made =
      tokenize_files(ByteTokenizer(), {.inputs = {dir / "pipe"}, .out_dir = dir / "out"});
  writer.join();
  EXPECT_EQ(ByteTokenizer().decode(tokens_under(dir, made.info.files)), "through a pipe");
}

TEST(Tokenize, UnusableInputIsNamedAndLeavesNothing) {
  OwnFolder dir;
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

TEST(Tokenize, AnInputThatChangesWhileItIsReadIsRefused) {
  OwnFolder dir;
  write_bytes(dir / "still", "text");
  write_bytes(dir / "busy", "text");
  TokenizeOptions options{.inputs = {dir / "still", dir / "busy"}, .out_dir = dir / "out"};
  options.progress = [&](const TokenizeProgress&) { std::filesystem::resize_file(dir / "busy", 2); };
  EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), options), dir / "busy changed while it was read");
  EXPECT_TRUE(std::filesystem::is_empty(dir / "out"));
  options.progress = nullptr;
  EXPECT_EQ(tokenize_files(ByteTokenizer(), options).info.bytes, 6);
}

TEST(Tokenize, ExistingOutputIsLeftAlone) {
  for (const char* name : {"tokens.json", "tokens_000003.bin", "tokens_000000.bin.tmp"}) {
    OwnFolder dir;
    write_bytes(dir / "in", "text");
    write_bytes(dir / name, "precious");
    EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir.path()}), name);
    EXPECT_EQ(test::read_bytes(dir / name), "precious");
    tokenize_files(ByteTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir.path(), .prefix = "other"});
  }
  OwnFolder dir;
  write_bytes(dir / "in", "text");
  EXPECT_DATA_ERROR(
      tokenize_files(ByteTokenizer(), {.inputs = {dir / "in"}, .out_dir = dir.path(), .prefix = "a/b"}),
      "a/b");
}

// ---- Interrupted and gone on with.

class Interrupted : public testing::Test {
 protected:
  Interrupted() {
    for (int file = 0; file < 3; ++file) {
      std::string text;
      uint64_t counter = uint64_t(file) << 32;
      while (text.size() < 2'500'000) {
        const double u = uniform(stream_key(1, "interrupted"), counter++);
        text += u < 0.001 ? "\n<SEP>\n" : u < 0.2 ? "\n" : u < 0.6 ? " the" : " quick fox's";
      }
      options_.inputs.push_back(dir_ / ("in" + std::to_string(file)));
      write_bytes(options_.inputs.back(), text);
    }
    options_.separator = "<SEP>";
    options_.tokens_per_shard = 700'000;
    options_.threads = 2;
    options_.journal_interval_s = 0;
  }

  TokenizeOptions into(const std::string& folder) const {
    TokenizeOptions options = options_;
    options.out_dir = dir_ / folder;
    return options;
  }

  // A process of its own, killed when it has come so far; false: it came to its end before.
  bool run_killed_after(const TokenizeOptions& options, int64_t bytes) {
    const pid_t child = ::fork();
    if (child == 0) {
      TokenizeOptions deadly = options;
      deadly.progress = [bytes](const TokenizeProgress& p) {
        if (p.bytes_read >= bytes) ::raise(SIGKILL);
      };
      tokenize_files(*tokenizer_, deadly);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status);
  }

  // Everything in a folder, by name.
  std::map<std::string, std::string> content(const std::string& folder) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(dir_ / folder))
      files[entry.path().filename()] = test::read_bytes(entry.path());
    return files;
  }

  OwnFolder dir_;
  TokenizeOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer(SASLM_FIXTURES_DIR);
};

TEST_F(Interrupted, AnyNumberOfTimesEndsWithTheSameShards) {
  tokenize_files(*tokenizer_, into("whole"));
  const auto whole = content("whole");
  ASSERT_GE(whole.size(), 4u);
  int64_t kills = 0;
  for (int64_t bytes = 1; run_killed_after(into("killed"), bytes); bytes += 1'100'000, ++kills) {
    for (const auto& [name, unused] : content("killed"))  // nothing looks whole
      EXPECT_TRUE(name.ends_with(".tmp") || name == "tokens.journal") << name;
  }
  EXPECT_GE(kills, 6);
  EXPECT_TRUE(content("killed") == whole);
}

// What cannot be gone back in, and documents that end in the middle of a line, or go on for several units.
TEST_F(Interrupted, CompressedInputsAndJsonLinesToo) {
  const std::string text = test::read_bytes(options_.inputs[0]);
  std::string lines;
  size_t at = 0;
  for (const size_t bytes : {10, 1'700'000, 0, 3, 400'000, 390'000}) {
    lines += nlohmann::json({{"n", at}, {"text", text.substr(at, bytes)}}).dump() +
             (at % 2 == 0 ? "\n" : "\r\n\n");
    at += bytes;
  }
  options_.inputs = {dir_ / "a.jsonl", dir_ / "b.jsonl.gz", dir_ / "c.txt.xz", dir_ / "d.txt"};
  write_bytes(options_.inputs[0], lines);
  write_bytes(options_.inputs[1], test::gzip(lines));
  write_bytes(options_.inputs[2], test::xz("\xef\xbb\xbf" + text));
  write_bytes(options_.inputs[3], test::zstd(text.substr(0, 100'000)));
  tokenize_files(*tokenizer_, into("whole"));
  int64_t kills = 0;
  for (int64_t bytes = 1; run_killed_after(into("killed"), bytes); bytes += 350'000) ++kills;
  EXPECT_GE(kills, 5);
  EXPECT_TRUE(content("killed") == content("whole"));
}

TEST_F(Interrupted, ABadLineAfterThatIsCountedFromTheBeginning) {
  std::string lines;
  for (int i = 0; i < 12'000; ++i) lines += "{\"text\":\"" + std::string(900, 'x') + "\"}\n";
  options_.inputs = {dir_ / "a.jsonl"};
  write_bytes(options_.inputs[0], lines + "{}\n");
  ASSERT_TRUE(run_killed_after(into("out"), 2'500'000));
  int64_t first = 0;
  TokenizeOptions options = into("out");
  options.progress = [&](const TokenizeProgress& p) { first = p.resumed_from; };
  EXPECT_DATA_ERROR(tokenize_files(*tokenizer_, options), "a.jsonl: line 12001: wanted a string");
  EXPECT_GT(first, 1'000'000);
}

TEST_F(Interrupted, WorkIsNotDoneTwice) {
  ASSERT_TRUE(run_killed_after(into("out"), 5'000'000));
  int64_t first = 0;
  TokenizeOptions options = into("out");
  options.threads = 1;  // this may differ
  options.progress = [&](const TokenizeProgress& p) {
    if (first == 0) first = p.bytes_read;
    EXPECT_GT(p.bytes_total, 7'500'000);
    EXPECT_LE(p.bytes_read, p.bytes_total);
  };
  const TokenizeResult made = tokenize_files(*tokenizer_, options);
  EXPECT_GT(made.resumed_from, 3'000'000);
  EXPECT_GT(first, made.resumed_from);
}

TEST_F(Interrupted, WhileItIsBeingFinishedToo) {
  tokenize_files(*tokenizer_, into("whole"));
  const auto whole = content("whole");
  ASSERT_TRUE(run_killed_after(into("killed"), 7'000'000));
  // All text is done; some shards have got their names, others not.
  TokenizeOptions options = into("killed");
  ::mkdir((options.out_dir + "/" + whole.rbegin()->first).c_str(), 0700);  // the last rename is in vain
  EXPECT_ANY_THROW(tokenize_files(*tokenizer_, options));
  std::filesystem::remove(options.out_dir + "/" + whole.rbegin()->first);
  EXPECT_TRUE(content("killed").contains("tokens_000000.bin"));
  EXPECT_DATA_ERROR(TokenSet({options.out_dir + "/tokens_*.bin"}, 1000, 4), "not finished");
  tokenize_files(*tokenizer_, options);
  EXPECT_TRUE(content("killed") == whole);
}

TEST_F(Interrupted, AHalfWrittenLineOfTheJournalIsDropped) {
  tokenize_files(*tokenizer_, into("whole"));
  ASSERT_TRUE(run_killed_after(into("killed"), 5'000'000));
  const std::string path = dir_ / "killed/tokens.journal";
  const std::string journal = test::read_bytes(path);
  for (const std::string& torn :
       {journal.substr(0, journal.size() - 20), journal + "{\"input\":2,\"offs", journal.substr(0, 10)}) {
    std::filesystem::remove_all(dir_ / "copy");
    std::filesystem::copy(dir_ / "killed", dir_ / "copy");
    write_bytes(dir_ / "copy/tokens.journal", torn);
    tokenize_files(*tokenizer_, into("copy"));
    EXPECT_TRUE(content("copy") == content("whole"));
  }
}

TEST_F(Interrupted, ChangedArgumentsAndInputsAreRefusedByName) {
  ASSERT_TRUE(run_killed_after(into("out"), 3'000'000));
  const auto left = content("out");
  const auto refused = [&](TokenizeOptions changed, const std::string& part) {
    EXPECT_DATA_ERROR(tokenize_files(*tokenizer_, changed), part);
    EXPECT_TRUE(content("out") == left);
  };
  TokenizeOptions changed = into("out");
  changed.tokens_per_shard = 800'000;
  refused(changed, "/tokens_per_shard was 700000, is 800000");
  changed = into("out");
  changed.inputs.pop_back();
  refused(changed, "/inputs was");
  EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), into("out")), "/tokenizer was");
  std::filesystem::last_write_time(options_.inputs[1], std::filesystem::file_time_type::clock::now());
  refused(into("out"), "/inputs/1/changed");
}

TEST_F(Interrupted, AJournalNestedWithoutEndIsRefused) {
  std::filesystem::create_directories(dir_ / "out");
  write_bytes(dir_ / "out/tokens.journal", std::string(1'000'000, '[') + std::string(1'000'000, ']') + "\n");
  EXPECT_DATA_ERROR(tokenize_files(*tokenizer_, into("out")), "other arguments");
}

TEST_F(Interrupted, ShardsThatWentMissingAreNamed) {
  ASSERT_TRUE(run_killed_after(into("out"), 6'000'000));
  ASSERT_TRUE(std::filesystem::remove(dir_ / "out/tokens_000000.bin.tmp"));
  EXPECT_DATA_ERROR(tokenize_files(*tokenizer_, into("out")), "tokens_000000.bin.tmp");
}

TEST_F(Interrupted, TwoRunsDoNotShareAnOutput) {
  TokenizeOptions options = into("out");
  options.progress = [&](const TokenizeProgress&) {
    EXPECT_DATA_ERROR(tokenize_files(*tokenizer_, into("out")), "another `saslm tokenize`");
  };
  tokenize_files(*tokenizer_, options);
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
