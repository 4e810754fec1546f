#include "fuzz/target.h"

#include <fcntl.h>
#include <stdlib.h>

#include <array>
#include <filesystem>

#include "core/error.h"

namespace saslm::fuzz {

std::span<const Target* const> all_targets() {
  static constexpr std::array kAll = {&kCompare, &kConfig,   &kDialect,     &kGemmTable, &kHub,
                                      &kInput,   &kJournal,  &kJsonLine,    &kLauncher,  &kManifest,
                                      &kMetrics, &kPattern,  &kSafetensors, &kShard,     &kShardInfo,
                                      &kState,   &kTokenizer};
  return kAll;
}

Scratch::Scratch() {
  // Without links: a config's paths are told from there.
  path_ = std::filesystem::canonical(std::filesystem::temp_directory_path()) / "saslm_fuzz_XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw IoError::from_errno("mkdtemp", path_);
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Scratch::write(const std::string& name, std::string_view bytes) const {
  const std::string path = *this / name;
  File(path, O_WRONLY | O_CREAT | O_TRUNC).write_all(bytes_of(bytes));
  return path;
}

std::pair<std::string_view, std::string_view> cut(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == text.npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + mark.size())};
}

std::vector<std::string> cut_all(std::string_view rest, std::string_view mark) {
  std::vector<std::string> parts;
  while (!rest.empty()) {
    const auto [part, more] = cut(rest, mark);
    parts.emplace_back(part);
    rest = more;
  }
  return parts;
}

}  // namespace saslm::fuzz
