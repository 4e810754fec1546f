#include "data/bpe_file.h"

#include <xxhash.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "data/input.h"
#include "data/utf8.h"

namespace saslm {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kMaxFileBytes = 256 << 20;
constexpr int64_t kMaxVocab = 1 << 22;
constexpr int kMaxNesting = 4;  // of pre-tokenizers
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr const char* kOneFile = "tokenizer.json";
// Vocabulary and merges of GPT-2's form, by either of their names.
constexpr std::array<std::pair<const char*, const char*>, 2> kPairs = {
    {{"encoder.json", "vocab.bpe"}, {"vocab.json", "merges.txt"}}};

std::string read_text(const std::string& path) {
  const File file = open_regular(path);
  if (file.size() > kMaxFileBytes) throw DataError(path + ": too large for a tokenizer (256 MiB at most)");
  std::string text(size_t(file.size()), '\0');
  file.pread_all(std::as_writable_bytes(std::span(text)), 0);
  return text;
}

std::string fingerprint_of(const std::string& bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  std::array<char, 33> hex;
  std::snprintf(hex.data(), hex.size(), "%016" PRIx64 "%016" PRIx64, uint64_t(hash.high64),
                uint64_t(hash.low64));
  return hex.data();
}

struct Pair {
  const std::string &vocab, &merges;
  std::string merges_path;  // for messages
};
Pair pair_of(const BpeTexts& texts) {
  for (const auto& [vocab, merges] : kPairs)
    if (texts.files.contains(vocab) && texts.files.contains(merges))
      return {texts.files.at(vocab), texts.files.at(merges),
              (fs::path(texts.path).parent_path() / merges).string()};
  throw DataError("tokenizer " + texts.path + ": wanted " + kOneFile +
                  ", or encoder.json + vocab.bpe, or vocab.json + merges.txt, got none of them");
}

// Printable bytes of Latin-1 stand for themselves, the other 68 for U+0100 on, in order (GPT-2's
// bytes_to_unicode).
bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

std::array<int, 324> make_byte_of_character() {
  std::array<int, 324> byte_of;
  byte_of.fill(-1);
  for (int byte = 0, next = 256; byte < 256; ++byte)
    byte_of[size_t(is_printable(byte) ? byte : next++)] = byte;
  return byte_of;
}

// A value of the file and the way to it, for messages.
class Node {
 public:
  Node(const std::string& file, std::string key, const json& value)
      : file_(file), key_(std::move(key)), value_(value) {}

  const json& value() const { return value_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(file_ + ": " + (key_.empty() ? "" : key_ + ": ") + what);
  }
  [[noreturn]] void wanted(const std::string& what) const { fail("wanted " + what + ", got " + shown()); }

  std::optional<Node> find(const std::string& name) const {
    if (!value_.is_object()) wanted("an object");
    const auto it = value_.find(name);
    if (it == value_.end() || it->is_null()) return std::nullopt;
    return Node(file_, key_.empty() ? name : key_ + "." + name, *it);
  }
  Node at(const std::string& name) const {
    const auto node = find(name);
    if (!node) fail("\"" + name + "\" is missing");
    return *node;
  }
  std::vector<Node> items() const {
    if (!value_.is_array()) wanted("a list");
    std::vector<Node> nodes;
    nodes.reserve(value_.size());
    for (size_t i = 0; i < value_.size(); ++i)
      nodes.emplace_back(file_, key_ + "[" + std::to_string(i) + "]", value_[i]);
    return nodes;
  }
  const std::string& text() const {
    if (!value_.is_string()) wanted("a string");
    return value_.get_ref<const std::string&>();
  }
  int32_t id() const {
    if (!value_.is_number_integer() || value_ < 0 || value_ >= kMaxVocab)
      wanted("a token id, 0 .. " + std::to_string(kMaxVocab - 1));
    return value_.get<int32_t>();
  }
  bool flag(const std::string& name, bool otherwise) const {
    const auto node = find(name);
    if (!node) return otherwise;
    if (!node->value_.is_boolean()) node->wanted("true or false");
    return node->value_.get<bool>();
  }
  void refuse_unless_empty(const std::string& name) const {
    const auto node = find(name);
    if (node && node->text() != "") node->fail("\"" + node->text() + "\" is not supported, only \"\"");
  }

 private:
  std::string shown() const {
    if (value_.is_structured()) return std::string("an ") + value_.type_name();  // may be nested without end
    const std::string text = value_.dump(-1, ' ', false, json::error_handler_t::replace);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
  }

  const std::string& file_;
  std::string key_;
  const json& value_;
};

json parse(const std::string& path, const std::string& text) {
  const size_t zero = text.find('\0');  // which the library would take for the end of the text
  if (zero != text.npos) throw DataError(path + ": not JSON: a zero byte at offset " + std::to_string(zero));
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    throw DataError(path + ": not JSON: " + error.what());
  }
}

class Reader {
 public:
  explicit Reader(const BpeTexts& texts) {
    file_.path = texts.path;
    file_.fingerprint = bpe_fingerprint(texts);
  }

  BpeFile read_json(const std::string& text) {
    const json whole = parse(file_.path, text);
    const Node root(file_.path, "", whole);
    if (!root.find("model"))
      root.fail(
          "\"model\" is missing: wanted a tokenizer.json, or GPT-2's pair under the names encoder.json and "
          "vocab.bpe");
    read_normalizer(root);
    const auto split = root.find("pre_tokenizer");
    if (!split || !read_split(*split, 0))
      root.fail("pre_tokenizer: wanted one that ends in ByteLevel; only byte-level BPE is supported");
    const Node model = root.at("model");
    check_model(model);
    read_vocab(model.at("vocab"));
    read_merges(model.at("merges"));
    file_.ignore_merges = model.flag("ignore_merges", false);
    if (const auto added = root.find("added_tokens"))
      for (const Node& token : added->items()) read_added(token);
    return std::move(file_);
  }

  BpeFile read_pair(const std::string& vocab, const std::string& merges, const std::string& merges_path) {
    const json whole = parse(file_.path, vocab);
    read_vocab(Node(file_.path, "", whole));
    size_t line_number = 0;
    for (size_t at = 0; at < merges.size();) {
      const size_t end = std::min(merges.find('\n', at), merges.size());
      std::string line = merges.substr(at, end - at);
      if (line.ends_with('\r')) line.pop_back();
      at = end + 1, ++line_number;
      if (line.empty() || line.starts_with("#version")) continue;
      const json value = line;
      add_merge(Node(merges_path, "line " + std::to_string(line_number), value), line);
    }
    file_.steps = {{kGpt2Pattern}};
    return std::move(file_);
  }

 private:
  static void read_normalizer(const Node& root) {
    const auto normalizer = root.find("normalizer");
    if (!normalizer) return;
    const std::string& type = normalizer->at("type").text();
    if (type == "Sequence" && normalizer->at("normalizers").items().empty()) return;
    normalizer->fail("\"" + type + "\" is not supported, only null: the text must come back as it was");
  }

  // Whether it ends in ByteLevel.
  bool read_split(const Node& node, int depth) {
    if (depth > kMaxNesting) node.fail("nested too deeply");
    const std::string& type = node.at("type").text();
    if (type == "Sequence") {
      bool ended = false;
      for (const Node& step : node.at("pretokenizers").items()) {
        if (ended) step.fail("nothing may follow ByteLevel");
        ended = read_split(step, depth + 1);
      }
      return ended;
    }
    if (type == "Split") {
      read_pattern(node);
    } else if (type == "Digits") {
      file_.steps.push_back({node.flag("individual_digits", false) ? "\\p{N}" : "\\p{N}+"});
    } else if (type == "ByteLevel") {
      if (node.flag("add_prefix_space", true))
        node.fail("add_prefix_space: true is not supported: the text must come back as it was");
      if (node.flag("use_regex", true)) file_.steps.push_back({kGpt2Pattern});
      return true;
    } else {
      node.fail("\"" + type + "\" is not supported, only Sequence, Split, Digits and ByteLevel");
    }
    return false;
  }

  void read_pattern(const Node& node) {
    const Node behavior = node.at("behavior");
    const bool invert = node.flag("invert", false);
    // "Removed" with invert drops what no match covers. We keep that, as a piece: where the pattern covers
    // all text, as those in use do, it is the same.
    if (behavior.text() != "Isolated" && !(behavior.text() == "Removed" && invert))
      behavior.fail("\"" + behavior.text() +
                    "\" is not supported, only Isolated, and Removed with invert: true");
    const Node pattern = node.at("pattern");
    const auto regex = pattern.find("Regex");
    file_.steps.push_back({(regex ? *regex : pattern.at("String")).text(), !regex});
    if (file_.steps.back().pattern.empty()) pattern.fail("it is empty");
  }

  static void check_model(const Node& model) {
    if (const auto type = model.find("type"); type && type->text() != "BPE")
      type->fail("\"" + type->text() + "\" is not supported, only BPE");
    if (const auto dropout = model.find("dropout"); dropout && dropout->value() != 0)
      dropout->fail("is not supported: ids would be random");
    model.refuse_unless_empty("continuing_subword_prefix");
    model.refuse_unless_empty("end_of_word_suffix");
  }

  void add_word(int32_t id, const std::string& bytes, bool spelled, const Node& node) {
    if (size_t(id) >= file_.words.size()) {
      file_.words.resize(size_t(id) + 1);
      file_.spelled.resize(size_t(id) + 1);
    }
    std::string& word = file_.words[size_t(id)];
    if (!word.empty()) node.fail("id " + std::to_string(id) + " is taken twice");
    word = bytes;
    file_.spelled[size_t(id)] = spelled;
  }

  // Nothing when a character stands for no byte.
  std::optional<std::string> bytes_of(const std::string& spelled) const {
    std::string bytes;
    for (size_t at = 0; at < spelled.size();) {
      const char32_t c = next_character(spelled, at);
      if (c >= byte_of_character_.size() || byte_of_character_[c] < 0) return std::nullopt;
      bytes += char(byte_of_character_[c]);
    }
    return bytes;
  }

  void read_vocab(const Node& vocab) {
    if (!vocab.value().is_object() || vocab.value().empty()) vocab.wanted("an object of words and their ids");
    for (const auto& [spelled, id] : vocab.value().items()) {
      const Node node(file_.path, "vocabulary word \"" + spelled + "\"", id);
      if (spelled.empty()) node.fail("a word must not be empty");
      const auto bytes = bytes_of(spelled);
      add_word(node.id(), bytes.value_or(spelled), bytes.has_value(), node);
      ids_[spelled] = node.id();
    }
    n_words_ = int32_t(ids_.size());
    file_.byte_ids.fill(-1);
    for (size_t c = 0; c < byte_of_character_.size(); ++c) {
      if (byte_of_character_[c] < 0) continue;
      std::string spelled;
      append_utf8(spelled, char32_t(c));
      const auto it = ids_.find(spelled);
      if (it == ids_.end())
        vocab.fail("the word \"" + spelled + "\" is missing, which stands for byte " +
                   std::to_string(byte_of_character_[c]) +
                   ": text that holds it would be lost (train with all 256 bytes as the initial alphabet)");
      file_.byte_ids[size_t(byte_of_character_[c])] = it->second;
    }
  }

  void read_merges(const Node& merges) {
    file_.merges.reserve(merges.value().size());
    for (const Node& merge : merges.items()) {
      if (merge.value().is_string()) {
        add_merge(merge, merge.text());
        continue;
      }
      const std::vector<Node> pair = merge.items();
      if (pair.size() != 2) merge.wanted("two words");
      add_merge(merge, pair[0].text(), pair[1].text());
    }
  }

  void add_merge(const Node& node, const std::string& line) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
      node.wanted("two words with one space between");
    add_merge(node, line.substr(0, space), line.substr(space + 1));
  }

  void add_merge(const Node& node, const std::string& left, const std::string& right) {
    const auto id = [&](const std::string& word) {
      const auto it = ids_.find(word);
      if (it == ids_.end()) node.fail("\"" + word + "\" is not in the vocabulary");
      return it->second;
    };
    file_.merges.push_back({id(left), id(right), id(left + right)});
  }

  void read_added(const Node& node) {
    AddedToken token{.content = node.at("content").text(),
                     .id = node.at("id").id(),
                     .special = node.flag("special", false),
                     .normalized = node.flag("normalized", false)};
    if (token.content.empty()) return;  // the library ignores it too
    for (const char* key : {"lstrip", "rstrip", "single_word"})
      if (node.flag(key, false))
        node.fail(std::string(key) + ": true is not supported: the text must come back as it was");
    if (const auto it = ids_.find(token.content); it == ids_.end()) {
      // The library numbers new tokens itself, whatever the file says.
      const int32_t next = std::max(n_words_, last_added_ + 1);
      if (token.id != next)
        node.fail("id " + std::to_string(token.id) + ", but the library would give it " +
                  std::to_string(next) + ": new tokens follow the vocabulary, and each other, without a gap");
      add_word(token.id, token.content, false, node);
      ids_[token.content] = token.id;
    } else if (it->second != token.id) {
      node.fail("id " + std::to_string(token.id) + ", but \"" + token.content + "\" has id " +
                std::to_string(it->second) + " already");
    } else if (file_.words[size_t(token.id)] != token.content) {
      node.fail("\"" + token.content + "\" stands for other bytes in the vocabulary; one id cannot be both");
    }
    last_added_ = std::max(last_added_, token.id);
    file_.added.push_back(std::move(token));
  }

  const std::array<int, 324> byte_of_character_ = make_byte_of_character();
  BpeFile file_;
  std::unordered_map<std::string, int32_t> ids_;
  int32_t n_words_ = 0, last_added_ = -1;
};

struct Found {
  std::string named, merges;  // merges "" = a tokenizer.json
  std::string error;          // not "" = nothing was found
};

Found locate(const std::string& path) {
  std::error_code unknown;
  const fs::path absolute = fs::weakly_canonical(fs::absolute(path), unknown);
  if (unknown || !fs::exists(absolute, unknown))
    return {.error =
                "no such file or folder; say bytes, or name a tokenizer.json, an encoder.json with its "
                "vocab.bpe beside it, or a folder that holds them"};
  const auto in = [](const fs::path& folder, const char* name) { return (folder / name).string(); };
  if (fs::is_directory(absolute, unknown)) {
    if (fs::exists(absolute / "tokenizer.json", unknown)) return {in(absolute, "tokenizer.json"), "", ""};
    for (const auto& [vocab, merges] : kPairs)
      if (fs::exists(absolute / vocab, unknown) || fs::exists(absolute / merges, unknown))
        return {in(absolute, vocab), in(absolute, merges), ""};
    return {.error =
                "this folder holds no tokenizer.json, encoder.json + vocab.bpe or vocab.json + merges.txt"};
  }
  for (const auto& [vocab, merges] : kPairs)
    if (absolute.filename() == vocab || absolute.filename() == merges)
      return {in(absolute.parent_path(), vocab), in(absolute.parent_path(), merges), ""};
  return {absolute.string(), "", ""};
}

}  // namespace

BpeTexts read_bpe_texts(const std::string& path) {
  const Found found = locate(path);
  if (!found.error.empty()) throw DataError("tokenizer \"" + path + "\": " + found.error);
  if (utf8_run(found.named, 0).end != found.named.size())
    throw DataError("tokenizer " + found.named +
                    ": this path is not UTF-8, so that shards and runs could not record it; rename it");
  BpeTexts texts{found.named, {}};
  if (found.merges.empty()) {
    texts.files[kOneFile] = read_text(found.named);
  } else {
    for (const std::string& file : {found.named, found.merges})
      texts.files[fs::path(file).filename().string()] = read_text(file);
  }
  return texts;
}

std::string bpe_fingerprint(const BpeTexts& texts) {
  if (const auto one = texts.files.find(kOneFile); one != texts.files.end())
    return fingerprint_of(one->second);
  const auto pair = pair_of(texts);
  return fingerprint_of(fingerprint_of(pair.vocab) + fingerprint_of(pair.merges));
}

BpeFile parse_bpe(const BpeTexts& texts) {
  if (const auto one = texts.files.find(kOneFile); one != texts.files.end())
    return Reader(texts).read_json(one->second);
  const auto pair = pair_of(texts);
  return Reader(texts).read_pair(pair.vocab, pair.merges, pair.merges_path);
}

BpeFile read_bpe_file(const std::string& path) {
  return parse_bpe(read_bpe_texts(path));
}

std::string bpe_file_path(const std::string& path) {
  const Found found = locate(path);
  return found.error.empty() ? found.named : path;
}

std::string bpe_merges_path(const std::string& path) {
  return locate(path).merges;
}

std::string byte_character(int byte) {
  const auto byte_of = make_byte_of_character();
  std::string spelled;
  append_utf8(spelled, char32_t(std::find(byte_of.begin(), byte_of.end(), byte) - byte_of.begin()));
  return spelled;
}

}  // namespace saslm
