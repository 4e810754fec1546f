#include "data/regex_dialect.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <vector>

#include "core/error.h"
#include "data/unicode_additions.h"
#include "data/utf8.h"

namespace saslm {

namespace {

constexpr const char* kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr const char* kNonSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr int kMaxSetNesting = 8;
constexpr std::string_view kCategories =
    "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp ";

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string code_point(char32_t c) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), "\\x{%x}", unsigned(c));
  return text.data();
}

std::string property(std::string_view name) {
  std::string text = "\\p{" + std::string(name) + "}";
  for (const UnicodeAddition& added : kUnicodeAdditions) {
    if (std::string_view(added.category).substr(0, name.size()) != name) continue;
    text += code_point(added.first);
    if (added.last != added.first) text += "-" + code_point(added.last);
  }
  return text;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {
    const Utf8Run run = utf8_run(pattern, 0);
    if (run.end != pattern.size()) fail("is not UTF-8");
  }

  std::string run() {
    while (at_ < pattern_.size()) atom();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(where_ + ": pattern `" + std::string(pattern_) + "`: at byte " + std::to_string(at_) +
                    ": " + what);
  }
  [[noreturn]] void unsupported(const std::string& what) const { fail(what + " is not supported"); }

  bool take(std::string_view word) {
    if (!pattern_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  void atom() {
    const char c = pattern_[at_];
    size_t begin = out_.size();
    switch (c) {
      case '(':
        return open_group();
      case ')':
        if (!groups_.empty()) begin = groups_.back().begin, groups_.pop_back();
        previous_ = 0;
        out_ += c, ++at_;
        return quantifier(begin);
      case '|':
        previous_ = 0;
        out_ += c, ++at_;
        return;
      case '[':
        set();
        return quantifier(begin);
      case '.':
        out_ += R"([^\x{a}])", ++at_;
        return quantifier(begin);
      case '^':
        unsupported("the anchor ^");
      case '$':  // of a line
        previous_ = 0;
        out_ += R"((?=\x{a}|\z))", ++at_;
        if (at_quantifier()) unsupported("a quantifier of $");
        return;
      case '*':
      case '+':
      case '?':
      case '{':
        fail(std::string("nothing before ") + c + " that it could repeat; write \\" + c +
             " for the character");
      case '\\':
        outer_escape();
        return quantifier(begin);
      default:
        literal(next_character(pattern_, at_));
        return quantifier(begin);
    }
  }

  void open_group() {
    const size_t begin = out_.size();
    bool ignore_case = ignoring_case();
    if (take("(?i:")) {
      ignore_case = true, out_ += "(?i:";
    } else if (take("(?:")) {
      out_ += "(?:";
    } else if (take("(?=")) {
      out_ += "(?=";
    } else if (take("(?!")) {
      out_ += "(?!";
    } else if (take("(?>")) {
      out_ += "(?>";
    } else if (pattern_.substr(at_).starts_with("(?") || pattern_.substr(at_).starts_with("(*")) {
      unsupported("a group that begins with " + std::string(pattern_.substr(at_, 3)));
    } else {
      ++at_, out_ += "(?:";
    }
    groups_.push_back({begin, ignore_case});
    previous_ = 0;
  }

  // Oniguruma also folds some pairs of letters to one character (ss, U+00DF); PCRE2 folds only single
  // characters.
  void literal(char32_t c) {
    if (ignoring_case()) {
      if (c >= 0x80) unsupported("a character outside ASCII under (?i:");
      const char lower = char(c >= 'A' && c <= 'Z' ? c + 32 : c);
      const std::string pair = {previous_, lower};
      for (const char* folded : {"ss", "ff", "fi", "fl", "st"})
        if (pair == folded) unsupported("\"" + pair + "\", which is one character too, under (?i:");
      previous_ = lower;
    }
    if (c < 0x80 && is_alnum(char(c))) {
      out_ += char(c);
    } else {
      out_ += code_point(c);
    }
  }

  bool ignoring_case() const { return !groups_.empty() && groups_.back().ignores_case; }

  bool at_quantifier() const {
    return at_ < pattern_.size() && std::string_view("*+?{").find(pattern_[at_]) != std::string_view::npos;
  }

  // Adds a quantifier to the output from `begin`.
  void quantifier(size_t begin) {
    if (at_ == pattern_.size()) return;
    const char c = pattern_[at_];
    if (c == '*' || c == '+' || c == '?') {
      out_ += c, ++at_;
      if (at_ < pattern_.size() && (pattern_[at_] == '+' || pattern_[at_] == '?')) out_ += pattern_[at_++];
    } else if (c == '{') {
      interval();
      if (take("+")) {  // in Oniguruma: the interval once or more; in PCRE2: possessive
        out_.insert(begin, "(?:");
        out_ += ")+";
      }
    } else {
      return;
    }
    if (at_quantifier()) unsupported("a quantifier of a quantifier");
  }

  void interval() {
    const size_t end = pattern_.find('}', at_);
    const std::string_view body =
        end == std::string_view::npos ? "" : pattern_.substr(at_ + 1, end - at_ - 1);
    const size_t comma = body.find(',');
    const std::string_view low = body.substr(0, comma),
                           high = comma == body.npos ? "" : body.substr(comma + 1);
    const auto is_number = [](std::string_view s) {
      return !s.empty() && s.size() <= 4 && s.find_first_not_of("0123456789") == s.npos;
    };
    if (!is_number(low) || (!high.empty() && !is_number(high)))
      unsupported("{ that does not begin {n}, {n,} or {n,m}");
    out_ += pattern_.substr(at_, end + 1 - at_);
    at_ = end + 1;
  }

  void outer_escape() {
    if (take("\\s")) {
      out_ += std::string("[") + kSpaces + "]";
    } else if (take("\\S")) {
      out_ += std::string("[^") + kSpaces + "]";
    } else if (take("\\d")) {
      out_ += "[" + property("Nd") + "]";
    } else if (take("\\D")) {
      out_ += "[^" + property("Nd") + "]";
    } else if (take("\\p")) {
      out_ += negated_property() ? "[^" : "[";
      out_ += property(property_name()) + "]";
    } else if (take("\\P")) {
      out_ += negated_property() ? "[" : "[^";
      out_ += property(property_name()) + "]";
    } else {
      literal(escaped_character());
      return;
    }
    refuse_ignoring_case("a set");
  }

  void refuse_ignoring_case(const char* what) const {
    if (ignoring_case()) unsupported(std::string(what) + " under (?i:");
  }

  // After \p: {^ begins a negation.
  bool negated_property() const { return pattern_.substr(at_).starts_with("{^"); }

  std::string_view property_name() {
    const size_t end = pattern_.find('}', at_);
    if (at_ == pattern_.size() || pattern_[at_] != '{' || end == std::string_view::npos)
      fail("wanted {NAME} after \\p");
    const size_t begin = at_ + (negated_property() ? 2 : 1);
    const std::string_view name = pattern_.substr(begin, end - begin);
    if (name.empty() || name.size() > 2 ||
        kCategories.find(std::string(name) + " ") == std::string_view::npos)
      unsupported("\\p{" + std::string(name) +
                  "} (only the general categories L, M, N, P, S, Z and their parts)");
    at_ = end + 1;
    return name;
  }

  char32_t escaped_character() {
    if (at_ + 1 == pattern_.size()) fail("a backslash at the end");
    const char c = pattern_[at_ + 1];
    static constexpr std::string_view kNames = "tnrfvae", kValues = "\t\n\r\f\v\a\x1b";
    if (const size_t i = kNames.find(c); i != std::string_view::npos) {
      at_ += 2;
      return char32_t(kValues[i]);
    }
    if (c == 'x' || c == 'u') return numbered_character(c);
    if (is_alnum(c)) unsupported(std::string("\\") + c);
    ++at_;
    return next_character(pattern_, at_);
  }

  char32_t numbered_character(char kind) {
    const std::string_view rest = pattern_.substr(at_ + 2);
    const bool braces = kind == 'x' && rest.starts_with("{");
    const size_t end = braces ? rest.find('}') : kind == 'x' ? 2 : 4;
    if (end == rest.npos || end > rest.size()) fail("an unfinished \\x or \\u");
    const std::string_view digits = rest.substr(braces, end - braces);
    uint32_t value = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || stop != digits.data() + digits.size() || value > 0x10ffff ||
        (value >= 0xd800 && value < 0xe000))
      fail("\\" + std::string(1, kind) + " names no character");
    if (kind == 'x' && !braces && value >= 0x80) unsupported("\\xHH of 80 and above, a bare byte,");
    at_ += 2 + end + braces;
    return value;
  }

  void set() {
    ++at_;
    out_ += take("^") ? "[^" : "[";
    set_items(0);
    out_ += "]";
  }

  // Up to and including the set's ]. A nested set is written as its items, since both form a union.
  void set_items(int depth) {
    if (depth > kMaxSetNesting) unsupported("such deep nesting of sets");
    if (at_ < pattern_.size() && pattern_[at_] == ']') unsupported("] as the first of a set");
    while (true) {
      if (at_ >= pattern_.size()) fail("a set without ]");
      if (take("]")) break;
      if (pattern_[at_] == '[') {
        if (pattern_.substr(at_).starts_with("[^")) unsupported("a negated set inside a set");
        if (pattern_.substr(at_).starts_with("[:")) unsupported("[: inside a set");
        ++at_;
        set_items(depth + 1);
        if (pattern_.substr(at_).starts_with("-")) unsupported("- beside a set of characters");
        continue;
      }
      const auto first = set_item();
      const std::string_view rest = pattern_.substr(at_);
      if (!rest.starts_with("-") || rest.starts_with("-]")) {
        if (first) out_ += code_point(*first);
        continue;
      }
      ++at_;
      const auto last = first ? set_item() : std::nullopt;
      if (!first || !last) unsupported("- beside a set of characters");
      if (*last < *first) fail("a range that runs backwards");
      out_ += code_point(*first) + "-" + code_point(*last);
    }
  }

  // One character, or nullopt after writing a whole class. Under (?i: only ASCII is allowed, for which both
  // engines add the same: the other case, U+017F for s and U+212A for k.
  std::optional<char32_t> set_item() {
    const auto write = [&](const std::string& characters) {
      refuse_ignoring_case("a class of characters in a set");
      out_ += characters;
      return std::nullopt;
    };
    const auto character = [&](char32_t c) {
      if (c >= 0x80) refuse_ignoring_case("a character outside ASCII");
      return c;
    };
    if (at_ >= pattern_.size()) fail("a set without ]");
    if (pattern_[at_] == '[') unsupported("- beside a set of characters");
    if (pattern_.substr(at_).starts_with("&&")) unsupported("&& inside a set");
    if (take("\\s")) return write(kSpaces);
    if (take("\\S")) return write(kNonSpaces);
    if (take("\\d")) return write(property("Nd"));
    if (take("\\p")) {
      if (negated_property()) unsupported("\\p{^ inside a set");
      return write(property(property_name()));
    }
    return character(pattern_[at_] == '\\' ? escaped_character() : next_character(pattern_, at_));
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  std::string out_;
  struct Group {
    size_t begin;  // in out_
    bool ignores_case;
  };
  std::vector<Group> groups_;  // open groups
  char previous_ = 0;          // literal under (?i:
};

}  // namespace

std::string to_pcre2(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

std::string literal_to_pcre2(std::string_view text, const std::string& where) {
  if (utf8_run(text, 0).end != text.size())
    throw DataError(where + ": pattern `" + std::string(text) + "`: is not UTF-8");
  std::string out;
  for (size_t at = 0; at < text.size();) out += code_point(next_character(text, at));
  return out;
}

}  // namespace saslm
