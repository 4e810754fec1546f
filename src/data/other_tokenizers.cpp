#include "data/other_tokenizers.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "core/error.h"

namespace saslm {

namespace {

constexpr const char* kConvert =
    "transformers can convert it to a tokenizer.json if it knows the model: python3 -c \"from transformers "
    "import AutoTokenizer; AutoTokenizer.from_pretrained('FOLDER').save_pretrained('OUT')\"; then give OUT. "
    "saslm reads BPE (Llama 2), not Unigram (T5)";
constexpr const char* kConvertTiktoken =
    "transformers can convert it to a tokenizer.json: "
    "transformers.integrations.tiktoken.convert_tiktoken_to_fast("
    "ENCODING, 'OUT'); then give OUT";
constexpr const char* kTrain =
    "use the tokenizer of a model with BPE, or train one on your text: scripts/train_tokenizer.py";

// A SentencePiece model is a protocol buffer message that starts with its vocabulary: field 1, a message,
// whose field 1 is a string.
bool is_sentencepiece(std::string_view text) {
  if (text.size() < 4 || text[0] != '\n' || text[2] != '\n') return false;
  return uint8_t(text[1]) < 0x80 && uint8_t(text[3]) < uint8_t(text[1]);
}

// Lines with a token in base 64, a space and its rank.
bool is_tiktoken(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  const size_t space = line.find(' ');
  if (space == line.npos || space == 0 || space % 4 != 0 || space + 1 == line.size()) return false;
  const auto base64 = [](char c) {
    return std::isalnum(uint8_t(c)) != 0 || c == '+' || c == '/' || c == '=';
  };
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || c == '\r'; };
  const std::string_view word = line.substr(0, space), rank = line.substr(space + 1);
  return std::all_of(word.begin(), word.end(), base64) && std::all_of(rank.begin(), rank.end(), digit);
}

}  // namespace

std::string why_not_read(const std::string& model_type) {
  const std::string known = model_type == "Unigram"     ? " (as in T5, ALBERT and XLNet)"
                            : model_type == "WordPiece" ? " (as in BERT)"
                            : model_type == "WordLevel" ? " (one id per whole word)"
                                                        : "";
  return "\"" + model_type + "\"" + known + " is not supported, only BPE: " + kTrain;
}

void refuse_other_kinds(const std::string& path, std::string_view text) {
  const auto fail = [&](const std::string& what, const std::string& instead) {
    throw DataError(path + ": " + what + " is not supported; " + instead);
  };
  if (path.ends_with(".model") || is_sentencepiece(text)) {
    if (is_tiktoken(text)) fail("this is a file of tiktoken (base 64 and ranks), which", kConvertTiktoken);
    fail("a SentencePiece model (protocol buffers)", kConvert);
  }
  if (path.ends_with(".tiktoken") || is_tiktoken(text))
    fail("a file of tiktoken (base 64 and ranks)", kConvertTiktoken);
  if (std::filesystem::path(path).filename() == "vocab.txt")
    fail("a list of words, as WordPiece has it (BERT),", kTrain);
}

std::string other_kind_in(const std::string& folder) {
  std::string found;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    const bool other = name.ends_with(".model") || name.ends_with(".tiktoken") || name == "vocab.txt";
    if (other && (found.empty() || name < found)) found = name;
  }
  return found;
}

void refuse_byte_order_mark(const std::string& path, std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf"))
    throw DataError(path +
                    ": begins with a byte order mark (EF BB BF), so neither the tokenizers library nor "
                    "transformers can read it; remove its first three bytes: tail -c +4 FILE > OTHER");
}

}  // namespace saslm
