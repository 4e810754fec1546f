#include "data/tokenize_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "core/error.h"

namespace saslm {

namespace {

using nlohmann::json;

constexpr int kMaxJobNesting = 8;  // deeper values are not from a job and are omitted from messages

std::string line_of(const TokenizeState& state) {
  const nlohmann::ordered_json line = {{"input", state.next.input},
                                       {"offset", state.next.offset},
                                       {"in_document", state.next.in_document},
                                       {"skipped", state.next.skipped},
                                       {"bytes_read", state.bytes_read},
                                       {"tokens", state.tokens},
                                       {"bytes", state.bytes},
                                       {"documents", state.documents},
                                       {"boundaries", state.boundaries}};
  return line.dump();
}

// nullopt if the line is incomplete.
std::optional<TokenizeState> state_of(const std::string& line) {
  const json parsed = json::parse(line, nullptr, false);
  if (!parsed.is_object() || line.find('\0') != line.npos) return std::nullopt;  // zeros: after a power cut
  TokenizeState state;
  const auto number = [&](const char* key, int64_t& value) {
    const auto it = parsed.find(key);
    if (it == parsed.end() || !it->is_number_integer() || *it < 0) return false;
    value = it->get<int64_t>();
    return true;
  };
  const auto in_document = parsed.find("in_document");
  if (in_document == parsed.end() || !in_document->is_boolean()) return std::nullopt;
  state.next.in_document = in_document->get<bool>();
  const bool whole = number("input", state.next.input) && number("offset", state.next.offset) &&
                     number("bytes_read", state.bytes_read) && number("tokens", state.tokens) &&
                     number("bytes", state.bytes) && number("documents", state.documents) &&
                     number("boundaries", state.boundaries) &&
                     (!parsed.contains("skipped") || number("skipped", state.next.skipped));
  return whole ? std::optional(state) : std::nullopt;
}

std::string shortened(const json& value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() <= 120 ? text : text.substr(0, 117) + "...";
}

// The first difference between two jobs, for messages.
std::string difference(const json& was, const json& is, const std::string& key = "") {
  if (was.is_structured() && was.type() == is.type() && was.size() == is.size())
    for (const auto& [name, value] : is.items()) {
      const json* other = was.is_array() ? &was[std::stoul(name)] : was.contains(name) ? &was[name] : nullptr;
      if (other != nullptr && *other != value) return difference(*other, value, key + "/" + name);
    }
  return key + " was " + shortened(was) + ", is " + shortened(is);
}

}  // namespace

TokenizeJournal::TokenizeJournal(std::string path, const std::string& job)
    : file_(std::move(path), O_RDWR | O_CREAT | O_APPEND) {
  struct stat status = {};
  if (::flock(file_.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw IoError::from_errno("lock", file_.path());
    throw DataError(file_.path() +
                    ": another `saslm tokenize` is writing this output; wait for it, or choose another "
                    "directory or prefix");
  }
  if (::fstat(file_.fd(), &status) != 0) throw IoError::from_errno("stat", file_.path());
  if (status.st_nlink == 0)
    throw DataError(file_.path() + ": another `saslm tokenize` has just finished this output");

  if (file_.size() > kMaxTextBytes)
    throw DataError(file_.path() +
                    ": too large for the state of an unfinished `saslm tokenize`; remove it and its .tmp "
                    "shards to start again");
  std::string text(size_t(file_.size()), '\0');
  file_.pread_all(std::as_writable_bytes(std::span(text)), 0);
  size_t whole = 0;  // bytes
  while (true) {
    const size_t end = text.find('\n', whole);
    if (end == std::string::npos) break;
    const std::string line = text.substr(whole, end - whole);
    if (whole == 0 && line != job) {
      const auto shallow = [](int depth, json::parse_event_t, const json&) { return depth < kMaxJobNesting; };
      const json was = json::parse(line, shallow, false), is = json::parse(job);
      throw DataError(
          file_.path() + ": an unfinished `saslm tokenize` with other arguments or inputs (" +
          difference(was, is) +
          "); repeat it with the old ones, or remove this file and its .tmp shards to start again");
    }
    const auto state = whole == 0 ? std::nullopt : state_of(line);
    if (whole > 0 && !state) break;
    if (state) state_ = state;
    whole = end + 1;
  }
  if (whole < text.size()) file_.truncate(int64_t(whole));
  if (whole == 0) append(job);
  fsync_dir(std::filesystem::path(file_.path()).parent_path().string());
}

void TokenizeJournal::record(const TokenizeState& state) {
  append(line_of(state));
}

void TokenizeJournal::remove() {
  if (::unlink(file_.path().c_str()) != 0) throw IoError::from_errno("remove", file_.path());
  file_ = File();
}

void TokenizeJournal::append(const std::string& line) {
  file_.write_all(bytes_of(line + "\n"));
  file_.sync();
}

}  // namespace saslm
