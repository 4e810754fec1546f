// Contract: data/parquet.h. Uses Arrow's column reader instead of its table reader: it keeps one page in
// memory instead of a row group, and a position is just a row number.
#include "data/parquet.h"

#include <arrow/io/file.h>
#include <arrow/status.h>
#include <fcntl.h>
#include <parquet/column_reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <algorithm>
#include <array>
#include <new>

#include "core/error.h"
#include "data/byte_source.h"
#include "data/input.h"
#include "data/json_line.h"
#include "data/utf8.h"

namespace saslm {

namespace {

using parquet::schema::GroupNode;
using parquet::schema::Node;

constexpr int64_t kBatchRows = 256;
constexpr int64_t kPageBytes = 1 << 18;
constexpr int kColumnsShown = 12;

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw ContentError(path + ": " + problem);
}

[[noreturn]] void refuse_damaged(const std::string& path, std::string why) {
  why.erase(why.find_last_not_of(" \n") + 1);  // Arrow's own may end so
  refuse(path, "a parquet file that is damaged, cut short, or not supported by this Arrow (" + why +
                   "); download or write it again");
}

// Returns the result of `call`. Arrow's exceptions are blamed on the file, unless the system reported an
// error.
template <class Call>
auto by_arrow(const std::string& path, Call call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const parquet::ParquetStatusException& error) {
    const auto& detail = error.status().detail();
    if (detail && std::string_view(detail->type_id()) == "arrow::ErrnoDetail")
      throw IoError("read " + path + ": " + error.what());
    refuse_damaged(path, error.what());
  } catch (const std::exception& error) {
    refuse_damaged(path, error.what());
  }
}

std::string kind_of(const Node& node) {
  const auto& logical = node.logical_type();
  if (node.is_repeated() || (logical && logical->is_list())) return "list";
  if (logical && logical->is_map()) return "map";
  if (node.is_group()) return "struct";
  if (logical && logical->is_string()) return "string";
  const auto type = static_cast<const parquet::schema::PrimitiveNode&>(node).physical_type();
  if (logical && !logical->is_none()) return logical->ToString();
  return type == parquet::Type::BYTE_ARRAY ? "binary" : parquet::TypeToString(type);
}

std::string fields_of(const GroupNode& group) {
  std::string shown;
  for (int i = 0; i < std::min(group.field_count(), kColumnsShown); ++i)
    shown += (i > 0 ? ", " : "") + in_quotes(group.field(i)->name()) + " (" + kind_of(*group.field(i)) + ")";
  if (group.field_count() > kColumnsShown) shown += ", ...";
  return shown.empty() ? "none" : shown;
}

struct Column {
  int index = 0;
  std::vector<std::string> may_be_null;  // nullable nodes from the row to the text, outermost first
};

Column find_column(const std::string& path, const parquet::SchemaDescriptor& schema,
                   const std::string& field) {
  const std::string wanted = "wanted a column of strings named " + in_quotes(field) + " (--field), ";
  const Node* node = schema.group_node();
  Column column;
  std::string so_far;
  for (const std::string& key : field_keys(field)) {
    if (!node->is_group() || kind_of(*node) != "struct")
      refuse(path, wanted + "but " + in_quotes(so_far) + " is of type " + kind_of(*node) + ", not struct");
    const auto& group = static_cast<const GroupNode&>(*node);
    const Node* found = nullptr;
    for (int i = 0; i < group.field_count(); ++i) {
      if (group.field(i)->name() != key) continue;
      if (found != nullptr) refuse(path, wanted + "but two have this name");
      found = group.field(i).get();
    }
    if (found == nullptr)
      refuse(path, wanted + "but " + (so_far.empty() ? "the columns" : "the fields of " + in_quotes(so_far)) +
                       " are " + fields_of(group) + "; choose one with --field");
    so_far += (so_far.empty() ? "" : ".") + key;
    if (found->is_optional()) column.may_be_null.push_back(so_far);
    node = found;
  }
  if (kind_of(*node) != "string")
    refuse(path, wanted + "but it is of type " + kind_of(*node) + "; the columns are " +
                     fields_of(*schema.group_node()) + "; choose one with --field");
  column.index = schema.ColumnIndex(*node);
  if (column.index < 0 || schema.Column(column.index)->physical_type() != parquet::Type::BYTE_ARRAY)
    refuse_damaged(path, "strings that are no byte arrays");
  return column;
}

std::unique_ptr<parquet::ParquetFileReader> open_reader(const File& file) {
  const int fd = ::fcntl(file.fd(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw IoError::from_errno("duplicate", file.path());
  parquet::ReaderProperties properties;
  properties.enable_buffered_stream();
  properties.set_buffer_size(kPageBytes);
  properties.set_page_checksum_verification(true);
  PARQUET_ASSIGN_OR_THROW(std::shared_ptr<arrow::io::RandomAccessFile> source,
                          arrow::io::ReadableFile::Open(fd));  // which closes it
  return parquet::ParquetFileReader::Open(std::move(source), properties);
}

class ArrowTexts : public ParquetTexts {
 public:
  ArrowTexts(const std::string& path, const std::string& field, int64_t begin) : path_(path) {
    const File file = open_regular(path);
    file_bytes_ = file.size();
    by_arrow(path_, [&] {
      reader_ = open_reader(file);
      metadata_ = reader_->metadata();
      column_ = find_column(path_, *metadata_->schema(), field);
      count_rows();
      pass_over(begin);
    });
  }

  std::optional<std::string_view> next() override {
    if (at_ == held_ && !by_arrow(path_, [&] { return fill(); })) return std::nullopt;
    const auto level = size_t(levels_[size_t(at_++)]);
    const size_t whole = column_.may_be_null.size();
    if (level < whole)
      refuse_row((level + 1 == whole ? "wanted a text under " : "wanted an object under ") +
                 in_quotes(column_.may_be_null[level]) + ", got null; remove such rows from the file");
    const parquet::ByteArray value = values_[size_t(value_++)];
    const std::string_view text(reinterpret_cast<const char*>(value.ptr), value.len);
    if (const size_t end = utf8_run(text, 0).end; end < text.size())
      refuse_row("not UTF-8 from byte " + std::to_string(end) + " of the text on");
    ++row_;
    return text;
  }

  int64_t file_position(int64_t rows) const override {
    if (rows >= rows_) return file_bytes_;
    return int64_t(double(file_bytes_) * (double(rows) / double(rows_)));
  }

 private:
  void count_rows() {
    for (int i = 0; i < metadata_->num_row_groups(); ++i) {
      const int64_t rows = metadata_->RowGroup(i)->num_rows();
      if (rows < 0 || __builtin_add_overflow(rows_, rows, &rows_))
        refuse_damaged(path_, "a row group of " + std::to_string(rows) + " rows");
    }
    if (rows_ != metadata_->num_rows())
      refuse_damaged(path_, "its row groups have " + std::to_string(rows_) + " rows, itself " +
                                std::to_string(metadata_->num_rows()));
  }

  void pass_over(int64_t rows) {
    if (rows > rows_) refuse(path_, "fewer rows than when it was read before");
    while (row_ < rows) {
      const int64_t group = metadata_->RowGroup(group_)->num_rows();
      if (rows - row_ >= group) {
        row_ += group, ++group_;
        continue;
      }
      open_group();
      const int64_t in_group = rows - row_;
      if (texts_->Skip(in_group) != in_group) refuse_short_group(in_group);
      left_ -= in_group, row_ = rows;
    }
  }

  void open_group() {
    left_ = metadata_->RowGroup(group_)->num_rows();
    group_reader_ = reader_->RowGroup(group_++);
    texts_ = std::dynamic_pointer_cast<parquet::ByteArrayReader>(group_reader_->Column(column_.index));
    if (!texts_) refuse_damaged(path_, "a row group with another type than the file");
  }

  // Reads more rows; false if there are none.
  bool fill() {
    while (left_ == 0) {
      if (texts_ && texts_->HasNext()) refuse_damaged(path_, "a row group with more rows than it says");
      texts_.reset();
      if (group_ == metadata_->num_row_groups()) return false;
      open_group();
    }
    int64_t n_values = 0;
    levels_.fill(0);  // not written if nothing is nullable
    held_ =
        texts_->ReadBatch(std::min(kBatchRows, left_), levels_.data(), nullptr, values_.data(), &n_values);
    if (held_ <= 0) refuse_short_group(left_);
    const auto whole = int16_t(column_.may_be_null.size());
    if (std::count(levels_.begin(), levels_.begin() + held_, whole) != n_values)
      refuse_damaged(path_, "row " + std::to_string(row_ + 1) + ": texts and nulls do not add up");
    left_ -= held_;
    at_ = value_ = 0;
    return true;
  }

  [[noreturn]] void refuse_short_group(int64_t missing) const {
    refuse_damaged(path_, "row " + std::to_string(row_ + 1) + ": its row group ends up to " +
                              std::to_string(missing) + " rows too early");
  }
  [[noreturn]] void refuse_row(const std::string& problem) const {
    refuse(path_, "row " + std::to_string(row_ + 1) + " of " + std::to_string(rows_) + ": " + problem);
  }

  std::string path_;
  int64_t file_bytes_ = 0;
  std::unique_ptr<parquet::ParquetFileReader> reader_;
  std::shared_ptr<parquet::FileMetaData> metadata_;
  Column column_;
  std::shared_ptr<parquet::RowGroupReader> group_reader_;  // texts_ reads by it
  std::shared_ptr<parquet::ByteArrayReader> texts_;
  int group_ = 0;                                           // to be opened next
  int64_t rows_ = 0, row_ = 0;                              // of the file; returned
  int64_t left_ = 0;                                        // of the open group, not read
  int64_t held_ = 0, at_ = 0;                               // rows read; rows of these returned
  int64_t value_ = 0;                                       // values returned; nulls have none
  std::array<int16_t, kBatchRows> levels_ = {};             // number of nullable nodes that are not null
  std::array<parquet::ByteArray, kBatchRows> values_ = {};  // in the page
};

}  // namespace

bool reads_parquet() {
  return true;
}

std::unique_ptr<ParquetTexts> open_parquet(const std::string& path, const std::string& field, int64_t begin) {
  return std::make_unique<ArrowTexts>(path, field, begin);
}

}  // namespace saslm
