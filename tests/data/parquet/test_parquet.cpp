// Positions in a parquet file: reading goes on at any row, and a killed tokenize in the midst of one. What
// the program makes of such files: tests/app/test_parquet.py.
#include <arrow/io/file.h>
#include <parquet/column_writer.h>
#include <parquet/file_writer.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>

#include "data/document_reader.h"
#include "data/parquet.h"
#include "data/tokenize.h"
#include "tests/data/support.h"

namespace saslm {
namespace {

using parquet::schema::GroupNode;
using parquet::schema::PrimitiveNode;
using test::OwnFolder;

// A column "text" that may be null; small pages, several to a group.
void write_parquet(const std::string& path, const std::vector<std::string>& texts, size_t group_rows) {
  const auto text = PrimitiveNode::Make("text", parquet::Repetition::OPTIONAL, parquet::LogicalType::String(),
                                        parquet::Type::BYTE_ARRAY);
  const auto root =
      std::static_pointer_cast<GroupNode>(GroupNode::Make("schema", parquet::Repetition::REQUIRED, {text}));
  const auto file = arrow::io::FileOutputStream::Open(path).ValueOrDie();
  const auto properties = parquet::WriterProperties::Builder().data_pagesize(2000)->build();
  const auto writer = parquet::ParquetFileWriter::Open(file, root, properties);
  for (size_t begin = 0; begin < texts.size(); begin += group_rows) {
    auto* column = static_cast<parquet::ByteArrayWriter*>(writer->AppendRowGroup()->NextColumn());
    for (size_t row = begin; row < std::min(begin + group_rows, texts.size()); ++row) {
      const int16_t there = 1;
      const parquet::ByteArray value(texts[row]);
      column->WriteBatch(1, &there, nullptr, &value);
    }
    column->Close();
  }
  writer->Close();
}

std::vector<std::string> sample_texts(size_t count, size_t longest) {
  std::vector<std::string> texts(count);
  uint32_t state = 1;
  const auto draw = [&state] { return (state = state * 1664525 + 1013904223) >> 16; };
  for (std::string& text : texts) {
    const size_t size = draw() % longest;
    while (text.size() < size) text += draw() % 5 == 0 ? ' ' : char('a' + draw() % 26);
  }
  return texts;
}

TEST(ParquetTexts, BeginsAtAnyRow) {
  OwnFolder dir;
  const std::vector<std::string> texts = sample_texts(900, 60);
  write_parquet(dir / "a.parquet", texts, 350);
  for (size_t begin = 0; begin <= texts.size(); ++begin) {
    const auto reader = open_parquet(dir / "a.parquet", "text", int64_t(begin));
    size_t row = begin;
    while (const auto text = reader->next()) {
      ASSERT_LT(row, texts.size());
      ASSERT_EQ(*text, texts[row++]) << "from " << begin;
      if (row == begin + 400 && begin % 10 != 0) break;
    }
    ASSERT_EQ(row, begin % 10 == 0 ? texts.size() : std::min(begin + 400, texts.size()));
  }
  EXPECT_DATA_ERROR(open_parquet(dir / "a.parquet", "text", 901), "fewer rows than when it was read before");
  EXPECT_EQ(open_parquet(dir / "a.parquet", "text")->file_position(900),
            int64_t(std::filesystem::file_size(dir / "a.parquet")));
}

struct Pieces : DocumentSink {
  void add_text(std::string_view piece, const TextPosition& end) override {
    text += piece;
    ends.push_back({end, text.size()});
  }
  void end_document(const TextPosition& next) override {
    text += '|';
    ends.push_back({next, text.size()});
  }
  std::string text;
  std::vector<std::pair<TextPosition, size_t>> ends;  // and where they are in `text`
};

TEST(ParquetTexts, EveryPositionIsOneToGoOnFrom) {
  OwnFolder dir;
  write_parquet(dir / "a.parquet", {"one", std::string(700'000, 'x'), "", "two", std::string(300'000, 'y')},
                2);
  const auto from = [&](const TextPosition& begin) {
    Pieces pieces;
    const auto reader = read_documents(dir / "a.parquet", {}, begin);
    while (reader->read(pieces)) continue;
    return pieces;
  };
  const Pieces all = from({});
  EXPECT_GE(all.ends.size(), 10u);
  for (auto [position, at] : all.ends) {
    EXPECT_TRUE(from(position).text == all.text.substr(at)) << at;
    if (position.skipped < 100) continue;
    EXPECT_TRUE(from(before(position, 77)).text == all.text.substr(at - 77)) << at;
  }
  EXPECT_DATA_ERROR(from({.offset = 3, .in_document = true, .skipped = 4}), "row 4: shorter than");
}

std::map<std::string, std::string> content(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename()] = test::read_bytes(entry.path());
  return files;
}

TEST(ParquetTexts, AKilledTokenizeGoesOnInTheMidstOfAFile) {
  OwnFolder dir;
  const auto tokenizer = make_tokenizer(SASLM_FIXTURES_DIR);
  TokenizeOptions options{.tokens_per_shard = 400'000, .threads = 2, .journal_interval_s = 0};
  int64_t file_bytes = 0;
  for (const char* name : {"a.parquet", "b.parquet"}) {
    std::vector<std::string> texts = sample_texts(2000, 1500);
    texts[700] = sample_texts(1, 2)[0] + std::string(1'500'000, 'z') + " end";
    write_parquet(dir / name, texts, 650);
    options.inputs.push_back(dir / name);
    file_bytes += int64_t(std::filesystem::file_size(dir / name));
  }
  options.out_dir = dir / "whole";
  tokenize_files(*tokenizer, options);
  const auto whole = content(options.out_dir);
  ASSERT_GE(whole.size(), 3u);

  options.out_dir = dir / "killed";
  const auto killed_after = [&](int64_t bytes) {
    const pid_t child = ::fork();
    if (child == 0) {
      options.progress = [bytes](const TokenizeProgress& p) {
        if (p.bytes_read >= bytes) ::raise(SIGKILL);
      };
      tokenize_files(*tokenizer, options);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status);
  };
  int64_t kills = 0;
  for (int64_t bytes = 1; killed_after(bytes); bytes += file_bytes / 7) ++kills;
  EXPECT_GE(kills, 4);
  EXPECT_TRUE(content(options.out_dir) == whole);
}

}  // namespace
}  // namespace saslm
