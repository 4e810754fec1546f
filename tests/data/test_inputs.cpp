// What `saslm tokenize` reads: by first bytes, decompressed, lines of JSON, folders.
#include <array>

#include "data/byte_source.h"
#include "data/document_reader.h"
#include "data/find_inputs.h"
#include "data/json_line.h"
#include "data/shard_file.h"
#include "data/sniff.h"
#include "data/text_input.h"
#include "data/tokenize.h"
#include "data/tokenize_raw.h"
#include "tests/data/compress.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using namespace std::string_literals;
using test::gzip;
using test::OwnFolder;
using test::write_bytes;
using test::xz;
using test::zstd;

struct Compression {
  const char* name;
  std::string (*compress)(const std::string&);
};
const std::vector<Compression> kCompressions = {{"gzip", gzip}, {"zstd", zstd}, {"xz", xz}};

// Text that no compression makes small, with lines.
std::string sample_text(size_t bytes) {
  std::string text;
  uint32_t state = 1;
  while (text.size() < bytes) {
    state = state * 1664525 + 1013904223;
    text += state >> 24 < 8 ? '\n' : char('a' + (state >> 16) % 26);
  }
  return text;
}

std::string all_of(const std::string& path, size_t at_once = 1000) {
  const OpenedSource source = open_source(path);
  std::string text, piece(at_once, '\0');
  while (const size_t n = source.bytes->read(piece)) text.append(piece, 0, n);
  return text;
}

TEST(ByteSource, ReadsWhatWasCompressedWhateverItsName) {
  const std::string text = sample_text(700'000);
  for (const auto& [name, compress] : kCompressions) {
    OwnFolder dir;
    write_bytes(dir / "x.txt", compress(text));
    EXPECT_EQ(open_source(dir / "x.txt").compression, name);
    EXPECT_TRUE(all_of(dir / "x.txt") == text) << name;
    EXPECT_TRUE(all_of(dir / "x.txt", 7) == text) << name;
    write_bytes(dir / "x.txt", compress(std::string(5'000'000, ' ')));  // little in, much out
    EXPECT_EQ(all_of(dir / "x.txt").size(), 5'000'000u) << name;
    write_bytes(dir / "x.txt", compress(""));
    EXPECT_EQ(all_of(dir / "x.txt"), "") << name;
  }
}

TEST(ByteSource, MembersOneAfterTheOtherAreOneText) {
  const std::string text = sample_text(300'000);
  for (const auto& [name, compress] : kCompressions) {
    OwnFolder dir;
    write_bytes(dir / "x", compress(text) + compress("") + compress("end"));
    EXPECT_TRUE(all_of(dir / "x") == text + "end") << name;
  }
  OwnFolder dir;
  write_bytes(dir / "x", gzip("a") + std::string(512, '\0'));  // as tapes pad
  EXPECT_EQ(all_of(dir / "x"), "a");
}

TEST(ByteSource, WhatIsCutShortDamagedOrFollowedBySomethingElseIsRefused) {
  const std::string text = sample_text(300'000);
  for (const auto& [name, compress] : kCompressions) {
    OwnFolder dir;
    const std::string whole = compress(text);
    for (const size_t n : {whole.size() - 1, whole.size() - 5, whole.size() / 2, size_t(20)}) {
      write_bytes(dir / "x", whole.substr(0, n));
      EXPECT_DATA_ERROR(all_of(dir / "x"), dir / "x: the " + name + " data is cut short");
    }
    for (size_t n = 40; n < whole.size(); n += whole.size() / 9) {
      std::string damaged = whole;
      damaged[n] = char(damaged[n] ^ 0x10);
      write_bytes(dir / "x", damaged);
      EXPECT_THROW(all_of(dir / "x"), ContentError) << name << ", byte " << n;
    }
    write_bytes(dir / "x", whole + "something else");
    EXPECT_DATA_ERROR(all_of(dir / "x"), "damaged "s + name + " data");
  }
}

TEST(ByteSource, SkippingIsReading) {
  const std::string text = sample_text(400'000);
  for (const auto& [name, compress] : kCompressions)
    for (const bool compressed : {false, true}) {
      OwnFolder dir;
      write_bytes(dir / "x", compressed ? compress(text) : text);
      for (const size_t n : {size_t(1), size_t(20'000), size_t(300'000), text.size()}) {
        const OpenedSource source = open_source(dir / "x");
        std::string rest(text.size(), '\0'), first(1, '\0');
        source.bytes->read(first);
        source.bytes->skip(int64_t(n) - 1);
        rest.resize(source.bytes->read(rest));
        EXPECT_TRUE(rest == text.substr(n)) << name << " " << n;
      }
    }
}

TEST(Sniff, NamesWhatIsNotText) {
  std::string tar(1024, '\0');
  tar.replace(0, 5, "a.txt").replace(257, 6, "ustar\0"s);
  std::string binary;
  for (int i = 0; i < 4096; ++i) binary += char(uint32_t(i) * 2654435761u >> 24);
  const std::vector<std::pair<std::string, const char*>> kinds = {
      {"PK\3\4abc"s, "a zip archive"},
      {tar, "a tar archive"},
      {"PAR1\x15\x04"s, "a parquet file"},
      {"\x80\4\x95\0\0\0"s, "a Python pickle"},
      {"\x7f\x45LF\2\1\1\0"s, "a program (ELF)"},
      {"%PDF-1.7\n"s, "a PDF document"},
      {"\x89PNG\r\n\x1a\n"s, "an image (PNG)"},
      {"\xff\xd8\xff\xe0"s, "an image (JPEG)"},
      {"\x93NUMPY\1\0"s, "a NumPy array"},
      {"\xff\xfeh\0i\0"s, "text in UTF-16"},
      {"\xfe\xff\0h\0i"s, "text in UTF-16"},
      {"\xff\xfe\0\0h\0\0\0"s, "text in UTF-32"},
      {"h\0e\0l\0l\0o\0 \0w\0o\0r\0l\0d\0"s, "text in UTF-16"},
      {"\0h\0e\0l\0l\0o\0 \0w\0o\0r\0l\0d"s, "text in UTF-16"},
      {"h\0\0\0e\0\0\0l\0\0\0l\0\0\0"s, "text in UTF-32"},
      {"BZh91AY&SY"s, "compressed by bzip2"},
      {"\2\0\0\0\0\0\0\0{}"s, "binary data"},
      {"\x10\0\0\0\0\0\0\0{\"a\":1}"s, "a safetensors file"},
      {test::llmc_u16({1, 2}), "a token shard"},
      {test::llmc_u32({1, 2}), "a token shard"},
      {binary, "binary data"}};
  for (const auto& [head, what] : kinds) {
    const Sniffed found = sniff(head);
    EXPECT_EQ(found.content, Content::other) << what;
    EXPECT_TRUE(found.what.starts_with(what)) << found.what << ", wanted " << what;
    EXPECT_FALSE(found.advice.empty()) << what;
  }
}

TEST(Sniff, TakesTextOfAnyKind) {
  for (const std::string& text : {""s, "x"s, "plain\n"s, "PARENTS and RIFFs\n"s, "BZh is not 1AY"s,
                                  "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"s,
                                  "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"s, "caf\xe9 cr\xe8me in Latin-1\n"s,
                                  "one \0 in a longer text"s, "\x1b[1mescapes\x1b[0m, \f pages\b and \x1a"s,
                                  "{\\rtf1 not asked for}"s, "\xef\xbb\xbf with a mark"s})
    EXPECT_EQ(sniff(text).content, Content::text) << text;
}

TEST(Sniff, TellsBareTokens) {
  std::string narrow, wide;
  for (uint32_t i = 0; i < 200; ++i) {
    const uint32_t id = i * 7919 % 50257;
    narrow += {char(id), char(id >> 8)};
    wide += {char(id), char(id >> 8), '\0', '\0'};
  }
  EXPECT_EQ(raw_type_of(narrow, int64_t(narrow.size())), "uint16");
  EXPECT_EQ(raw_type_of(wide, int64_t(wide.size())), "uint32");
  EXPECT_EQ(raw_type_of("only text here, no tokens", 24), "");
}

TEST(JsonLine, GivesTheFieldAndSaysWhatIsWrong) {
  const auto text = [](const std::string& line, const std::string& field = "text") {
    const LineText found = text_of_line(line, field_keys(field));
    return found.problem.empty() ? found.text : "! " + found.problem;
  };
  EXPECT_EQ(text(R"({"text":"a\nb\u00e9\ud83d\ude00"})"), "a\nb\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(text(R"( {"id":1,"meta":{"text":"no"},"l":[{"text":"no"}],"text":"yes"} )"), "yes");
  EXPECT_EQ(text(R"({"a":{"b":"deep","text":"no"},"b":"no"})", "a.b"), "deep");
  EXPECT_EQ(text(R"({"text":""})"), "");
  const std::vector<std::array<std::string, 3>> wrong = {
      {R"({"content":"x","url":"y"})", "text",
       R"(wanted a string under "text", but the line has "content", "url")"},
      {R"({})", "text", "the line has no keys"},
      {R"({"text":7})", "text", R"(wanted a string under "text", got a number)"},
      {R"({"text":null})", "text", "got null"},
      {R"({"text":["a"]})", "text", "got a list"},
      {R"({"text":{"text":"a"}})", "text", "got an object"},
      {R"({"text":"a","text":"b"})", "text", "appears twice"},
      {R"({"a":"x"})", "a.b", R"(wanted an object under "a", got a text)"},
      {R"({"text":"a")", "text", "not JSON from column"},
      {R"({"text":"a"} x)", "text", "not JSON from column"},
      {R"({"text":"\ud800"})", "text", "not JSON"},
      {"{\"text\":\"a\xff\"}", "text", "not JSON"},
      {"{\"text\":\"a\"}\0x"s, "text", "zero byte"},
      {R"([{"text":"a"}])", "text", "wanted a JSON object, got a list"},
      {"plain text", "text", "not JSON"},
      {"\"text\"", "text", "wanted a JSON object, got a text"}};
  for (const auto& [line, field, problem] : wrong)
    EXPECT_THAT(text(line, field), testing::AllOf(testing::StartsWith("! "), testing::HasSubstr(problem)))
        << line;
  EXPECT_DATA_ERROR(field_keys("a..b"), "--field");
  EXPECT_DATA_ERROR(field_keys(""), "--field");
}

TEST(FindInputs, FoldersAndPatternsAreSortedAndSaid) {
  OwnFolder dir;
  std::filesystem::create_directories(dir / "f/sub/.hidden");
  for (const char* name : {"b.txt", "a.jsonl.gz", "sub/c.txt.xz", "sub/.hidden/d.txt", ".e.txt", "README.md"})
    write_bytes(dir / "f/"s + name, name);
  std::vector<std::string> said;
  const auto note = [&](const std::string& line) { said.push_back(line); };
  const std::vector<std::string> wanted = {dir / "f/a.jsonl.gz", dir / "f/b.txt", dir / "f/sub/c.txt.xz"};
  EXPECT_EQ(find_inputs({dir / "f"}, note), wanted);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_THAT(said[0], testing::AllOf(testing::HasSubstr("3 files"), testing::HasSubstr("README.md")));
  EXPECT_EQ(find_inputs({dir / "f/*.txt", "-"}, note), (std::vector<std::string>{dir / "f/b.txt", "-"}));
}

TEST(FindInputs, RefusesWhatIsEmptyOrGivenTwice) {
  OwnFolder dir;
  std::filesystem::create_directories(dir / "empty");
  std::filesystem::create_directories(dir / "f");
  write_bytes(dir / "f/a.txt", "a");
  std::filesystem::create_symlink(dir / "f/a.txt", dir / "link.txt");
  EXPECT_DATA_ERROR(find_inputs({}, nullptr), "no input");
  EXPECT_DATA_ERROR(find_inputs({dir / "empty"}, nullptr), "has no files");
  EXPECT_DATA_ERROR(find_inputs({dir / "none_*"}, nullptr), "none_*");
  EXPECT_DATA_ERROR(find_inputs({dir / "f/a.txt", dir / "f/a.txt"}, nullptr), "given twice");
  EXPECT_DATA_ERROR(find_inputs({dir / "f", dir / "link.txt"}, nullptr), "link.txt: the same file");
  EXPECT_DATA_ERROR(find_inputs({"-", "-"}, nullptr), "standard input (-) is given twice");
}

// ---- All of it together.

std::string stream_of(const TokenizeOptions& options) {
  const TokenizeResult made = tokenize_files(ByteTokenizer(), options);
  std::string stream;
  for (const std::string& name : made.info.files) {
    const ShardFile shard(options.out_dir + "/" + name);
    std::vector<int32_t> tokens(size_t(shard.n_tokens()));
    shard.read(0, shard.n_tokens(), tokens.data());
    stream += ByteTokenizer().decode(tokens);
  }
  EXPECT_EQ(made.info.boundary_token, 0);
  EXPECT_EQ(made.info.bytes, int64_t(stream.size()) - std::count(stream.begin(), stream.end(), '\0'));
  std::replace(stream.begin(), stream.end(), '\0', '|');
  return stream;
}

TEST(TokenizeInputs, EveryKindGivesTheTextInIt) {
  OwnFolder dir;
  const std::string lines =
      "{\"text\":\"one\\n<SEP>\\n\",\"n\":1}\r\n\n{\"text\":\"\"}\n{\"n\":2,\"text\":\"two\"}";
  write_bytes(dir / "a.txt", "\xef\xbb\xbfplain\n<SEP>\nsecond");
  write_bytes(dir / "b.txt", zstd("\xef\xbb\xbfpacked"));
  write_bytes(dir / "c.jsonl", lines);
  write_bytes(dir / "d.jsonl.gz", gzip(lines));
  write_bytes(dir / "e.json", xz(lines));  // by its first line
  const std::string texts = "one\n<SEP>\n|two";
  std::vector<std::string> said;
  EXPECT_EQ(stream_of({.inputs = {dir / "a.txt", dir / "b.txt", dir / "c.jsonl", dir / "d.jsonl.gz",
                                  dir / "e.json"},
                       .out_dir = dir / "out",
                       .separator = "<SEP>",
                       .note = [&](const std::string& line) { said.push_back(line); }}),
            "plain\n|second|packed|" + texts + "|" + texts + "|" + texts);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_THAT(said[0], testing::HasSubstr("a.txt: starts with a byte order mark"));
  EXPECT_THAT(said[2], testing::HasSubstr("e.json: read as JSON lines"));
}

TEST(TokenizeInputs, WhatIsNoTextIsRefusedBeforeAnyWork) {
  OwnFolder dir;
  const auto refused = [&](const std::string& name, const std::string& bytes, const std::string& part) {
    write_bytes(dir / name, bytes);
    const TokenizeOptions options{.inputs = {dir / name}, .out_dir = dir / "out"};
    EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), options), part);
    EXPECT_FALSE(std::filesystem::exists(dir / "out"));
  };
  refused("a.txt", "%PDF-1.4", "a.txt: a PDF document; wanted UTF-8 text");
  refused("b.txt", gzip(gzip("x")), "compressed twice");
  refused("c.txt", gzip("PAR1xx"), "a parquet file inside gzip");
  refused("d.txt", "{\"text\":\"a\"}\n", "--format jsonl");
  refused("e.json", "[{\"text\":\"a\"}]", "not one object per line");
  write_bytes(dir / "f.txt", "%PDF-1.4");
  EXPECT_EQ(stream_of({.inputs = {dir / "f.txt"}, .out_dir = dir / "b", .input_format = InputFormat::bytes}),
            "%PDF-1.4");
  EXPECT_EQ(stream_of({.inputs = {dir / "d.txt"}, .out_dir = dir / "t", .input_format = InputFormat::text}),
            "{\"text\":\"a\"}\n");
}

TEST(TokenizeInputs, ABadLineIsNamedAndLeavesNothing) {
  OwnFolder dir;
  std::string lines;
  for (int i = 0; i < 3000; ++i) lines += "{\"text\":\"" + std::string(900, 'x') + "\"}\n";
  write_bytes(dir / "in.jsonl", gzip(lines + "{\"text\":3}\n"));
  TokenizeOptions options{.inputs = {dir / "in.jsonl"}, .out_dir = dir / "out", .journal_interval_s = 0};
  EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), options),
                    "in.jsonl: line 3001: wanted a string under \"text\"");
  EXPECT_TRUE(std::filesystem::is_empty(dir / "out"));
  options.field = "content";
  EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), options), "line 1: wanted a string under \"content\"");
  write_bytes(dir / "in.txt", "text");
  options.inputs = {dir / "in.txt"};
  EXPECT_DATA_ERROR(tokenize_files(ByteTokenizer(), options), "--field content");
}

TEST(TokenizeRaw, BareTokensBecomeShards) {
  OwnFolder dir;
  std::vector<uint16_t> ids = {0, 5, 6, 0, 0, 7, 255, 0};
  write_bytes(dir / "train.bin", test::bytes_of(ids));
  const ByteTokenizer tokenizer;
  const TokenizeResult made =
      tokenize_raw(&tokenizer, TokenType::u16, {.inputs = {dir / "train.bin"}, .out_dir = dir / "out"});
  EXPECT_EQ(made.info.tokens, 8);
  EXPECT_EQ(made.info.bytes, 4);
  EXPECT_EQ(made.info.documents, 2);
  const ShardFile shard(dir / "out/tokens_000000.bin");
  std::vector<int32_t> tokens(8);
  shard.read(0, 8, tokens.data());
  EXPECT_EQ(tokens, std::vector<int32_t>(ids.begin(), ids.end()));

  const TokenizeResult unnamed =
      tokenize_raw(nullptr, TokenType::u16, {.inputs = {dir / "train.bin"}, .out_dir = dir / "unnamed"});
  EXPECT_EQ(unnamed.info_path, "");
  EXPECT_EQ(test::read_bytes(dir / "unnamed/tokens_000000.bin"),
            test::read_bytes(dir / "out/tokens_000000.bin"));
}

TEST(TokenizeRaw, WhatIsNotBareTokensIsRefused) {
  OwnFolder dir;
  const ByteTokenizer tokenizer;
  const auto refused = [&](const std::string& bytes, TokenType type, const std::string& part) {
    write_bytes(dir / "in.bin", bytes);
    EXPECT_DATA_ERROR(tokenize_raw(&tokenizer, type, {.inputs = {dir / "in.bin"}, .out_dir = dir / "out"}),
                      part);
    EXPECT_TRUE(!std::filesystem::exists(dir / "out") || std::filesystem::is_empty(dir / "out"));
  };
  refused(test::bytes_of<uint16_t>({1, 2, 256}), TokenType::u16,
          "token 256 at offset 2 is outside the vocabulary 0 .. 255");
  refused("an ordinary text, of an even size", TokenType::u16, "text, not bare uint16");
  refused(test::llmc_u16({1, 2, 3}), TokenType::u16, "a token shard");
  refused(test::bytes_of<uint16_t>({1, 2}) + "\1", TokenType::u16, "not a multiple of uint16 ids");
  refused(test::bytes_of(test::counting<uint32_t>(200)), TokenType::u16, "give --raw uint32");
}

}  // namespace
}  // namespace saslm
