#include "data/json_line.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace saslm {

namespace {

using nlohmann::json;

constexpr size_t kKeysShown = 12;
constexpr size_t kKeyShownBytes = 40;

std::string joined(const std::vector<std::string>& keys) {
  std::string field;
  for (const std::string& key : keys) field += (field.empty() ? "" : ".") + key;
  return field;
}

// Finds the field during parsing, without storing the rest of the line.
class FieldFinder : public nlohmann::json_sax<json> {
 public:
  explicit FieldFinder(const std::vector<std::string>& keys) : keys_(keys), seen_(keys.size()) {}

  LineText result(bool parsed) && {
    LineText line;
    if (!problem_.empty()) {
      line.problem = problem_;
    } else if (!parsed) {
      line.problem = "not JSON";
    } else if (!found_) {
      line.problem = "wanted a string under " + in_quotes(joined(keys_)) + ", but the line has " +
                     (shown_.empty() ? "no keys" : shown_) + "; choose one with --field";
    } else {
      line.text = std::move(text_);
    }
    return line;
  }

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("a boolean"); }
  bool number_integer(number_integer_t) override { return value("a number"); }
  bool number_unsigned(number_unsigned_t) override { return value("a number"); }
  bool number_float(number_float_t, const string_t&) override { return value("a number"); }
  bool binary(binary_t&) override { return value("bytes"); }

  bool string(string_t& text) override {
    if (!at_field()) return value("a text");
    text_ = std::move(text);
    found_ = true, matched_ = false;
    return true;
  }

  bool start_object(std::size_t) override {
    const bool goes_on = depth_ == 0 || (at_key() && on_path_ < keys_.size());
    if (!goes_on && !value("an object")) return false;
    if (goes_on) ++on_path_, matched_ = false;
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (depth_ == on_path_) --on_path_, matched_ = false;
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (!value("a list")) return false;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 1) show(name);
    if (depth_ != on_path_) return true;
    matched_ = name == keys_[on_path_ - 1];
    if (!matched_) return true;
    if (!seen_[on_path_ - 1]) return seen_[on_path_ - 1] = true;
    return fail("the key " + in_quotes(name) + " appears twice");
  }

  bool parse_error(std::size_t column, const std::string&,
                   const nlohmann::detail::exception& error) override {
    const std::string text = error.what();
    const size_t detail = text.rfind("; last read");
    const size_t syntax = text.find("syntax error");
    problem_ = "not JSON from column " + std::to_string(column) + " on";
    if (syntax != text.npos)
      problem_ += " (" + text.substr(syntax, detail - syntax) + ")";  // without text of the line
    return false;
  }

 private:
  bool at_key() const { return depth_ == on_path_ && matched_; }
  bool at_field() const { return at_key() && on_path_ == keys_.size(); }

  bool value(const char* kind) {
    if (depth_ == 0) return fail(std::string("wanted a JSON object, got ") + kind);
    if (!at_key()) return true;
    if (on_path_ < keys_.size())
      return fail("wanted an object under " + in_quotes(keys_[on_path_ - 1]) + ", got " + kind);
    return fail("wanted a string under " + in_quotes(joined(keys_)) + ", got " + kind);
  }

  void show(const std::string& name) {
    if (++n_keys_ > kKeysShown + 1) return;
    if (n_keys_ > 1) shown_ += ", ";
    shown_ += n_keys_ > kKeysShown ? "..." : in_quotes(name.substr(0, kKeyShownBytes));
  }

  bool fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  const std::vector<std::string>& keys_;
  size_t depth_ = 0;        // open objects and lists
  size_t on_path_ = 0;      // the outermost of these that are on the field's path
  bool matched_ = false;    // the key just read is the next on the path
  std::vector<bool> seen_;  // of the keys
  bool found_ = false;
  size_t n_keys_ = 0;
  std::string text_, shown_, problem_;
};

}  // namespace

std::string in_quotes(const std::string& text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

std::vector<std::string> field_keys(const std::string& field) {
  std::vector<std::string> keys;
  for (size_t begin = 0; begin <= field.size();) {
    const size_t end = std::min(field.find('.', begin), field.size());
    if (end == begin) throw DataError("--field: wanted a key such as text or a.b, got \"" + field + "\"");
    keys.push_back(field.substr(begin, end - begin));
    begin = end + 1;
  }
  return keys;
}

LineText text_of_line(std::string_view line, const std::vector<std::string>& keys) {
  if (line.find('\0') != line.npos) return {"", "contains a zero byte"};  // the library would stop there
  FieldFinder finder(keys);
  const bool parsed = json::sax_parse(line, &finder);
  return std::move(finder).result(parsed);
}

}  // namespace saslm
