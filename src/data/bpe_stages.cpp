#include "data/bpe_stages.h"

namespace saslm {

namespace {

constexpr int kMaxStageNesting = 4;

// In the library's patterns \p{N} follows Unicode 16, but its Digits also includes numbers of Unicode 17.
const std::string kDigit = R"([\p{N}\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6}])";

class StageReader {
 public:
  explicit StageReader(const JsonNode& root) : root_(root) {}

  BpeStages read() {
    if (const auto normalizer = root_.find("normalizer")) read_normalizer(*normalizer, 0);
    if (prepends_ && !stages_.marks_replaced)
      root_.fail("normalizer: Prepend is supported only together with Replace of \" \" by \"▁\"");
    if (prepends_) stages_.prefix = SpacePrefix::segment;
    const auto split = root_.find("pre_tokenizer");
    if (split) read_split(*split, 0);
    stages_.characters = !byte_level_;
    stages_.spaces_marked = stages_.marks_replaced || metaspace_;
    if (byte_level_ && stages_.marks_replaced)
      root_.fail("normalizer: Replace of \" \" by \"▁\" is not supported before ByteLevel");
    return std::move(stages_);
  }

 private:
  void read_normalizer(const JsonNode& node, int depth) {
    if (depth > kMaxStageNesting) node.fail("nested too deeply");
    const std::string& type = node.at("type").text();
    if (type == "Sequence") {
      for (const JsonNode& step : node.at("normalizers").items()) read_normalizer(step, depth + 1);
    } else if (type == "NFC") {
      stages_.nfc = true;
    } else if (type == "Prepend") {
      if (prepends_ || node.at("prepend").text() != kSpaceMark)
        node.fail("only one Prepend, of \"▁\", is supported");
      prepends_ = true;
    } else if (type == "Replace") {
      const auto plain = node.at("pattern").find("String");
      if (!plain || plain->text() != " " || node.at("content").text() != kSpaceMark)
        node.fail("only Replace of the plain text \" \" by \"▁\" is supported: other text would be lost");
      stages_.marks_replaced = true;
    } else {
      node.fail("\"" + type +
                "\" is not supported, only NFC, Prepend and Replace of \"▁\", and Sequence: decoding must "
                "give back the exact text, or its normal form C");
    }
  }

  void read_split(const JsonNode& node, int depth) {
    if (depth > kMaxStageNesting) node.fail("nested too deeply");
    if (byte_level_ || metaspace_)
      node.fail(std::string("no step may follow ") + (metaspace_ ? "Metaspace" : "ByteLevel"));
    const std::string& type = node.at("type").text();
    if (type == "Sequence") {
      for (const JsonNode& step : node.at("pretokenizers").items()) read_split(step, depth + 1);
    } else if (type == "Split") {
      read_pattern(node);
    } else if (type == "Digits") {
      stages_.steps.push_back({node.flag("individual_digits", false) ? kDigit : kDigit + "+"});
    } else if (type == "ByteLevel") {
      read_byte_level(node);
    } else if (type == "Metaspace") {
      read_metaspace(node);
    } else {
      node.fail("\"" + type + "\" is not supported, only Sequence, Split, Digits, ByteLevel and Metaspace");
    }
  }

  void read_byte_level(const JsonNode& node) {
    byte_level_ = true;
    if (node.flag("add_prefix_space", true)) {
      if (!stages_.steps.empty())
        node.fail(
            "add_prefix_space: true is supported only where no other step comes before: it would put a space "
            "before every piece");
      stages_.prefix = SpacePrefix::piece;
    }
    if (node.flag("use_regex", true)) stages_.steps.push_back({kGpt2Pattern});
  }

  void read_metaspace(const JsonNode& node) {
    if (!stages_.steps.empty()) node.fail("Metaspace is supported only where no other step comes before");
    if (stages_.marks_replaced)
      node.fail("Metaspace is not supported with a normalizer that also inserts \"▁\"");
    if (const auto mark = node.find("replacement"); mark && mark->text() != kSpaceMark)
      mark->fail("only \"▁\" is supported");
    metaspace_ = true;
    stages_.split_at_spaces = node.flag("split", true);
    const auto scheme = node.find("prepend_scheme");
    const bool off = !node.flag("add_prefix_space", true);  // older files mean "never" by this
    const std::string name = scheme ? scheme->text() : off ? "never" : "always";
    if (name != "always" && name != "first" && name != "never")
      scheme->wanted("\"always\", \"first\" or \"never\"");
    if (off && name != "never") node.fail("add_prefix_space: false, but prepend_scheme: \"" + name + "\"");
    if (name == "always") stages_.prefix = SpacePrefix::piece;
    if (name == "first") stages_.prefix = SpacePrefix::first;
  }

  void read_pattern(const JsonNode& node) {
    const JsonNode pattern = node.at("pattern");
    const auto regex = pattern.find("Regex");
    const std::string& text = (regex ? *regex : pattern.at("String")).text();
    if (text.empty()) pattern.fail("it is empty");
    const JsonNode behavior = node.at("behavior");
    if (stages_.marks_replaced) {
      if (!regex && text == " ") return;  // the normalizer has left none (Gemma)
      node.fail("after a normalizer that inserts \"▁\", Split is supported only by the plain text \" \"");
    }
    const bool invert = node.flag("invert", false);
    // "Removed" with invert drops text outside of matches. We keep it as a piece: for patterns that cover all
    // text, as those in use, it is the same.
    if (behavior.text() != "Isolated" && !(behavior.text() == "Removed" && invert))
      behavior.fail("\"" + behavior.text() +
                    "\" is not supported, only Isolated, and Removed with invert: true");
    stages_.steps.push_back({text, !regex});
  }

  const JsonNode& root_;
  BpeStages stages_;
  bool prepends_ = false, byte_level_ = false, metaspace_ = false;
};

}  // namespace

std::string spaces_for_marks(std::string_view text) {
  std::string out(text);
  const size_t size = std::string_view(kSpaceMark).size();
  for (size_t at = out.find(kSpaceMark); at != out.npos; at = out.find(kSpaceMark, at + 1))
    out.replace(at, size, " ");
  return out;
}

BpeStages read_bpe_stages(const JsonNode& root) {
  return StageReader(root).read();
}

}  // namespace saslm
