#include "export/tokenizer_files.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "data/bpe_file.h"
#include "data/tokenizer.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

std::string text_of(const ordered_json& value) {
  return value.dump(2) + "\n";
}

ordered_json byte_tokenizer() {
  const std::string nul(1, '\0');
  ordered_json vocab = {{nul, 0}};  // NUL represents itself, so that it is matched in text as a special token
  for (int byte = 1; byte < 256; ++byte) vocab[byte_character(byte)] = byte;
  const ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens",
           {{{"id", 0},
             {"content", nul},
             {"single_word", false},
             {"lstrip", false},
             {"rstrip", false},
             {"normalized", false},
             {"special", true}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"vocab", vocab},
            {"merges", ordered_json::array()}}}};
}

// Removes a section of a tokenizer.json. Returns whether it existed.
bool take_out(ordered_json& whole, const char* section) {
  const auto it = whole.find(section);
  if (it == whole.end() || it->is_null()) return false;
  *it = nullptr;
  return true;
}

// The text of a tokenizer.json without parts that would change ids: a post-processor (unless it only trims
// offsets), truncation and padding.
std::string without_additions(const std::string& text, std::vector<std::string>& notes) {
  ordered_json whole = ordered_json::parse(text);
  bool changed = false;
  const ordered_json last = whole.value("post_processor", ordered_json());
  const bool only_trims = last.is_object() && last.value("type", ordered_json()) == "ByteLevel";
  if (!only_trims && take_out(whole, "post_processor")) {
    changed = true;
    notes.push_back(
        "the tokenizer's post_processor, which adds tokens around a text, was left out: saslm trained "
        "without it");
  }
  for (const char* section : {"truncation", "padding"}) {
    if (!take_out(whole, section)) continue;
    changed = true;
    notes.push_back("the tokenizer's " + std::string(section) +
                    " was left out: saslm trained on unchanged texts");
  }
  return changed ? text_of(whole) : text;
}

// transformers treats the first line as the version, and needs a final newline.
std::string merges_text(std::string text) {
  std::erase(text, '\r');
  if (!text.starts_with("#version")) text.insert(0, "#version: 0.2\n");
  if (!text.ends_with('\n')) text += '\n';
  return text;
}

std::optional<int32_t> boundary_of(const Tokenizer& tokenizer) {
  try {
    return tokenizer.boundary();
  } catch (const DataError&) {  // it has none
    return std::nullopt;
  }
}

std::string idle_rows(int64_t words, int64_t rows) {
  const std::string idle = std::to_string(rows - words);
  return "the model's vocabulary (" + std::to_string(rows) + ") is larger than the tokenizer's (" +
         std::to_string(words) + "): " + idle +
         " tokens have no text. transformers accepts this; converters " +
         "that require equal sizes do not (such as CTranslate2 for GPT2LMHeadModel). For them, give the "
         "exported " +
         "tokenizer as many idle tokens: t = AutoTokenizer.from_pretrained(FOLDER); " +
         "t.add_tokens([f\"<|idle_{i}|>\" for i in range(" + idle + ")]); t.save_pretrained(FOLDER)";
}

void compare_sizes(int64_t words, int64_t rows, const std::string& name, std::vector<std::string>& warnings) {
  if (words > rows)
    throw ConfigError("the tokenizer " + name + " has " + std::to_string(words) +
                      " tokens, but the model has only " + std::to_string(rows) +
                      ": text with the others cannot be used; give the model's own with " +
                      "--tokenizer FILE, or give --no-tokenizer");
  if (words < rows) warnings.push_back(idle_rows(words, rows));
}

void add_files(TokenizerFiles& out, const Tokenizer& tokenizer, int64_t max_seq_len) {
  const std::optional<int32_t> boundary = boundary_of(tokenizer);
  const ordered_json end =
      boundary ? ordered_json(tokenizer.decode(std::span(&*boundary, 1))) : ordered_json();
  const std::string name = tokenizer.name(), merges = name == "bytes" ? "" : bpe_merges_path(name);
  out.loaded_by = merges.empty() ? "PreTrainedTokenizerFast" : "GPT2Tokenizer";
  ordered_json config = {{"tokenizer_class", out.loaded_by},
                         {"bos_token", end},
                         {"eos_token", end},
                         {"pad_token", end},
                         {"padding_side", "left"},
                         {"model_max_length", max_seq_len},
                         {"clean_up_tokenization_spaces", false},  // it would change text
                         {"model_input_names", {"input_ids", "attention_mask"}}};
  if (name == "bytes") {
    out.files["tokenizer.json"] = text_of(byte_tokenizer());
  } else if (merges.empty()) {
    out.files["tokenizer.json"] = without_additions(read_file(name), out.notes);
  } else {
    out.files["vocab.json"] = read_file(name);
    out.files["merges.txt"] = merges_text(read_file(merges));
    config["unk_token"] = end;
    config["add_prefix_space"] = false;
  }
  out.files["tokenizer_config.json"] = text_of(config);
}

}  // namespace

TokenizerFiles tokenizer_files(const std::string& tokenizer, const ModelConfig& model) {
  TokenizerFiles out;
  const auto made = make_tokenizer(tokenizer);
  compare_sizes(made->vocab_size(), model.vocab_size, made->name(), out.warnings);
  add_files(out, *made, model.max_seq_len);
  out.end_of_text = boundary_of(*made);
  if (!out.end_of_text)
    out.notes.push_back(
        "the tokenizer has no end-of-text token, so texts of different lengths cannot be batched");
  return out;
}

bool is_byte_tokenizer(const std::string& text) {
  return ordered_json::parse(text, nullptr, false) == byte_tokenizer();
}

}  // namespace saslm
