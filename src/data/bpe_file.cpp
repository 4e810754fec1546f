#include "data/bpe_file.h"

#include <xxhash.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "data/input.h"
#include "data/json_node.h"
#include "data/other_tokenizers.h"
#include "data/utf8.h"

namespace saslm {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kMaxFileBytes = 256 << 20;
constexpr const char* kOneFile = "tokenizer.json";
// GPT-2's vocabulary and merges, under either pair of names.
constexpr std::array<std::pair<const char*, const char*>, 2> kPairs = {
    {{"encoder.json", "vocab.bpe"}, {"vocab.json", "merges.txt"}}};

std::string read_text(const std::string& path) {
  const File file = open_regular(path);
  if (file.size() > kMaxFileBytes) throw DataError(path + ": too large for a tokenizer (256 MiB at most)");
  std::string text(size_t(file.size()), '\0');
  file.pread_all(std::as_writable_bytes(std::span(text)), 0);
  refuse_byte_order_mark(path, text);
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

// Printable Latin-1 bytes map to themselves, the other 68 to U+0100 and up, in order (GPT-2's
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

json parse(const std::string& path, const std::string& text) {
  const size_t zero = text.find('\0');  // the library would stop there
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
    refuse_other_kinds(file_.path, text);
    const json whole = parse(file_.path, text);
    const JsonNode root(file_.path, "", whole);
    if (!root.find("model"))
      root.fail(
          "\"model\" is missing: wanted a tokenizer.json, or GPT-2's pair under the names encoder.json and "
          "vocab.bpe");
    const JsonNode model = root.at("model");
    check_model(model);
    file_.stages = read_bpe_stages(root);
    file_.ignore_merges = model.flag("ignore_merges", false);
    check_characters(model);
    read_vocab(model.at("vocab"));
    read_merges(model.at("merges"));
    if (const auto added = root.find("added_tokens"))
      for (const JsonNode& token : added->items()) read_added(token);
    return std::move(file_);
  }

  BpeFile read_pair(const std::string& vocab, const std::string& merges, const std::string& merges_path) {
    const json whole = parse(file_.path, vocab);
    read_vocab(JsonNode(file_.path, "", whole));
    size_t line_number = 0;
    for (size_t at = 0; at < merges.size();) {
      const size_t end = std::min(merges.find('\n', at), merges.size());
      std::string line = merges.substr(at, end - at);
      if (line.ends_with('\r')) line.pop_back();
      at = end + 1, ++line_number;
      if (line.empty() || line.starts_with("#version")) continue;
      const json value = line;
      add_merge(JsonNode(merges_path, "line " + std::to_string(line_number), value), line);
    }
    file_.stages.steps = {{kGpt2Pattern}};
    return std::move(file_);
  }

 private:
  static void check_model(const JsonNode& model) {
    if (const auto type = model.find("type"); type && type->text() != "BPE")
      type->fail(why_not_read(type->text()));
    if (const auto dropout = model.find("dropout"); dropout && dropout->value() != 0)
      dropout->fail("is not supported: ids would be random");
    model.refuse_unless_empty("continuing_subword_prefix");
    model.refuse_unless_empty("end_of_word_suffix");
  }

  void add_word(int32_t id, const std::string& bytes, bool spelled, const JsonNode& node) {
    if (size_t(id) >= file_.words.size()) {
      file_.words.resize(size_t(id) + 1);
      file_.spelled.resize(size_t(id) + 1);
    }
    std::string& word = file_.words[size_t(id)];
    if (!word.empty()) node.fail("id " + std::to_string(id) + " is used twice");
    word = bytes;
    file_.spelled[size_t(id)] = spelled;
  }

  // Without a splitting pre-tokenizer a document is one piece, which could only be a token as a whole.
  void check_characters(const JsonNode& model) const {
    if (!file_.stages.characters) return;
    if (!model.flag("byte_fallback", false))
      model.fail(
          "byte_fallback: wanted true, or a pre_tokenizer that ends in ByteLevel: characters outside the "
          "vocabulary would be lost (train with byte_fallback and the tokens <0x00> to <0xFF>)");
    if (file_.ignore_merges && !file_.stages.split_at_spaces)
      model.fail(
          "ignore_merges: true is supported only with a pre_tokenizer ByteLevel, or Metaspace with split: "
          "true");
  }

  // nullopt if a character does not represent a byte.
  std::optional<std::string> bytes_of(const std::string& spelled) const {
    if (file_.stages.characters) return file_.stages.spaces_marked ? spaces_for_marks(spelled) : spelled;
    std::string bytes;
    for (size_t at = 0; at < spelled.size();) {
      const char32_t c = next_character(spelled, at);
      if (c >= byte_of_character_.size() || byte_of_character_[c] < 0) return std::nullopt;
      bytes += char(byte_of_character_[c]);
    }
    return bytes;
  }

  void read_vocab(const JsonNode& vocab) {
    if (!vocab.value().is_object() || vocab.value().empty()) vocab.wanted("an object of words and their ids");
    for (const auto& [spelled, id] : vocab.value().items()) {
      const JsonNode node(file_.path, "vocabulary token \"" + spelled + "\"", id);
      if (spelled.empty()) node.fail("a token must not be empty");
      const auto bytes = bytes_of(spelled);
      // Spaces are spelled ▁, so a token with a real space never occurs in text.
      const bool found = bytes && !(file_.stages.spaces_marked && spelled.find(' ') != spelled.npos);
      add_word(node.id(), bytes.value_or(spelled), found, node);
      ids_[spelled] = node.id();
    }
    n_words_ = int32_t(ids_.size());
    for (int byte = 0; byte < 256; ++byte) file_.byte_ids[size_t(byte)] = read_byte(byte, vocab);
  }

  // The id of the token that represents a byte.
  int32_t read_byte(int byte, const JsonNode& vocab) {
    const bool characters = file_.stages.characters;
    const std::string spelled = characters ? byte_fallback_word(byte) : byte_character(byte);
    const auto it = ids_.find(spelled);
    if (it == ids_.end())
      vocab.fail("the word \"" + spelled + "\" is missing; it represents byte " + std::to_string(byte) +
                 ": text with that byte would be lost (train with all 256 bytes as the initial alphabet)");
    if (characters) {
      file_.words[size_t(it->second)] = std::string(1, char(byte));
      file_.spelled[size_t(it->second)] = false;
    }
    bytes_.insert(it->second);
    return it->second;
  }

  void read_merges(const JsonNode& merges) {
    file_.merges.reserve(merges.value().size());
    for (const JsonNode& merge : merges.items()) {
      if (merge.value().is_string()) {
        add_merge(merge, merge.text());
        continue;
      }
      const std::vector<JsonNode> pair = merge.items();
      if (pair.size() != 2) merge.wanted("two words");
      add_merge(merge, pair[0].text(), pair[1].text());
    }
  }

  void add_merge(const JsonNode& node, const std::string& line) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
      node.wanted("two words with one space between");
    add_merge(node, line.substr(0, space), line.substr(space + 1));
  }

  void add_merge(const JsonNode& node, const std::string& left, const std::string& right) {
    const auto id = [&](const std::string& word) {
      const auto it = ids_.find(word);
      if (it == ids_.end()) node.fail("\"" + word + "\" is not in the vocabulary");
      return it->second;
    };
    const BpeMerge merge{id(left), id(right), id(left + right)};
    if (file_.stages.characters)
      for (const int32_t word : {merge.left, merge.right, merge.merged})
        if (bytes_.count(word) > 0) node.fail("is that of a byte token, which text cannot spell");
    file_.merges.push_back(merge);
  }

  void read_added(const JsonNode& node) {
    AddedToken token{.content = node.at("content").text(),
                     .id = node.at("id").id(),
                     .special = node.flag("special", false),
                     .normalized = node.flag("normalized", false)};
    if (token.content.empty()) return;  // the library ignores it, too
    for (const char* key : {"lstrip", "rstrip", "single_word"})
      if (node.flag(key, false))
        node.fail(std::string(key) + ": true is not supported: decoding must give back the exact text");
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
    } else if (!file_.stages.characters && file_.words[size_t(token.id)] != token.content) {
      node.fail("\"" + token.content + "\" is another token in the vocabulary; one id cannot be both");
    }
    last_added_ = std::max(last_added_, token.id);
    file_.added.push_back(std::move(token));
  }

  const std::array<int, 324> byte_of_character_ = make_byte_of_character();
  BpeFile file_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<int32_t> bytes_;  // byte_ids
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
                "no such file or folder; give bytes, a tokenizer.json, an encoder.json with vocab.bpe beside "
                "it, or a folder with one of them"};
  const auto in = [](const fs::path& folder, const char* name) { return (folder / name).string(); };
  if (fs::is_directory(absolute, unknown)) {
    if (fs::exists(absolute / "tokenizer.json", unknown)) return {in(absolute, "tokenizer.json"), "", ""};
    for (const auto& [vocab, merges] : kPairs)
      if (fs::exists(absolute / vocab, unknown) || fs::exists(absolute / merges, unknown))
        return {in(absolute, vocab), in(absolute, merges), ""};
    if (const std::string other = other_kind_in(absolute.string()); !other.empty())
      return {in(absolute, other.c_str()), "", ""};  // reading it will say what it is
    return {.error =
                "this folder has no tokenizer.json, encoder.json + vocab.bpe or vocab.json + merges.txt"};
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
                    ": this path is not UTF-8, so shards and runs cannot record it; rename it");
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

std::string byte_fallback_word(int byte) {
  std::array<char, 8> text;
  std::snprintf(text.data(), text.size(), "<0x%02X>", unsigned(byte));
  return text.data();
}

}  // namespace saslm
