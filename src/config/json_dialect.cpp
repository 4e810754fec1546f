#include "config/json_dialect.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace saslm {

namespace {

// Walks through a text once and copies what is plain JSON of it.
class Plainer {
 public:
  explicit Plainer(std::string_view text) : text_(text) {}

  void run() {
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (rest.front() == '"') {
        copy(length_of_string(rest));
      } else if (rest.starts_with("//") || rest.front() == '#') {
        drop(std::min(rest.find('\n'), rest.size()), comment_line_);
      } else if (rest.starts_with("/*")) {
        const size_t end = rest.find("*/", 2);
        drop(end == rest.npos ? rest.size() : end + 2, comment_line_);
      } else if (rest.front() == ',') {
        comma_ = plain_.size(), comma_at_line_ = line_;
        copy(1);
      } else if ((rest.front() == '}' || rest.front() == ']') && comma_ != plain_.npos) {
        plain_.erase(comma_, 1);
        if (comma_line_ == 0) comma_line_ = comma_at_line_;
        copy(1);
      } else {
        copy(1);
      }
    }
  }

  const std::string& plain() const { return plain_; }
  size_t comment_line() const { return comment_line_; }  // 0: there is none
  size_t comma_line() const { return comma_line_; }

 private:
  static size_t length_of_string(std::string_view rest) {
    size_t n = 1;
    while (n < rest.size() && rest[n] != '"') n += rest[n] == '\\' ? 2 : 1;
    return std::min(n + 1, rest.size());
  }

  void copy(size_t n) {
    const std::string_view part = text_.substr(at_, n);
    if (part != "," && part.find_first_not_of(" \t\r\n") != part.npos) comma_ = plain_.npos;
    plain_ += part;
    step_over(part);
  }

  void drop(size_t n, size_t& first_line) {
    if (first_line == 0) first_line = line_;
    step_over(text_.substr(at_, n));
  }

  void step_over(std::string_view part) {
    line_ += size_t(std::count(part.begin(), part.end(), '\n'));
    at_ += part.size();
  }

  std::string_view text_;
  std::string plain_;
  size_t at_ = 0, line_ = 1;
  size_t comma_ = std::string::npos;  // in plain_: nothing but blanks has followed it
  size_t comma_at_line_ = 0, comment_line_ = 0, comma_line_ = 0;
};

}  // namespace

std::string dialect_of(const std::string& text) {
  if (text.find('\0') != text.npos) return "";  // the library would take it for the end
  Plainer plainer(text);
  plainer.run();
  const size_t comment = plainer.comment_line(), comma = plainer.comma_line();
  if ((comment == 0 && comma == 0) || !nlohmann::json::accept(plainer.plain())) return "";
  std::string what = "this is JSON with ";
  if (comment != 0) what += "comments (line " + std::to_string(comment) + ")";
  if (comma != 0)
    what += std::string(comment != 0 ? " and " : "") + "a comma before a closing bracket (line " +
            std::to_string(comma) + ")";
  return what + "; saslm reads plain JSON: remove " + (comment != 0 ? "them" : "it");
}

}  // namespace saslm
