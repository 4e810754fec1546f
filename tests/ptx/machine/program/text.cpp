#include "ptx/machine/program/text.h"

#include <algorithm>
#include <cstdlib>

namespace ptx {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         c == '%' || c == '.';
}

bool opens(char c) {
  return c == '(' || c == '[' || c == '{';
}
bool closes(char c) {
  return c == ')' || c == ']' || c == '}';
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

uint32_t round_up(uint64_t n, uint64_t to) {
  return uint32_t((n + to - 1) / to * to);
}

int64_t to_int(std::string_view text) {
  return std::strtoll(std::string(text).c_str(), nullptr, 0);
}

int type_bytes(std::string_view type) {
  if (!type.empty() && type[0] == '.') type.remove_prefix(1);
  if (type == "pred") return 1;
  if (type == "bf16") return 2;
  if (type == "bf16x2" || type == "f16x2") return 4;
  const int bits = type.empty() ? 0 : std::atoi(std::string(type.substr(1)).c_str());
  if (bits < 8) throw Unreadable("unknown type " + std::string(type));
  return bits / 8;
}

std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> out;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      const auto item = trim(text.substr(begin, i - begin));
      if (!item.empty()) out.push_back(item);
      begin = i + 1;
    } else {
      depth += opens(text[i]) - closes(text[i]);
    }
  }
  return out;
}

void blank_comments(std::string& text) {
  const auto blank = [&](size_t i) {
    if (text[i] != '\n') text[i] = ' ';
  };
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
      }
    } else if (text[i] == '/' && text[i + 1] == '/') {
      for (; i < text.size() && text[i] != '\n'; ++i) blank(i);
    } else if (text[i] == '/' && text[i + 1] == '*') {
      const size_t end = std::min(text.find("*/", i + 2), text.size() - 2) + 2;
      for (; i < end; ++i) blank(i);
      --i;
    }
  }
}

void Cursor::skip_blanks() {
  for (; at < text.size() && is_blank(text[at]); ++at) line += text[at] == '\n';
}

bool Cursor::done() {
  skip_blanks();
  return at >= text.size();
}

char Cursor::peek() {
  skip_blanks();
  return at < text.size() ? text[at] : '\0';
}

bool Cursor::take(char c) {
  if (peek() != c) return false;
  ++at;
  return true;
}

std::string_view Cursor::word() {
  skip_blanks();
  const size_t begin = at;
  while (at < text.size()) {
    if (is_word(text[at])) {
      ++at;
    } else if (text.substr(at, 2) == "::") {
      at += 2;
    } else {
      break;
    }
  }
  return text.substr(begin, at - begin);
}

std::string_view Cursor::until(char end) {
  const size_t begin = at;
  for (; at < text.size() && text[at] != end; ++at) line += text[at] == '\n';
  const auto before = text.substr(begin, at - begin);
  if (at < text.size()) {
    line += end == '\n';
    ++at;
  }
  return before;
}

std::string_view Cursor::bracketed() {
  skip_blanks();
  const size_t begin = ++at;
  for (int depth = 1; at < text.size(); ++at) {
    line += text[at] == '\n';
    depth += opens(text[at]) - closes(text[at]);
    if (depth == 0) return text.substr(begin, at++ - begin);
  }
  throw Unreadable("PTX line " + std::to_string(line) + ": a bracket is not closed");
}

Declaration parse_declaration(std::string_view text) {
  Cursor c{text};
  Declaration d;
  int vector = 1;
  while (d.name.empty()) {
    const auto w = c.word();
    if (w.empty()) throw Unreadable("declaration not understood: " + std::string(text.substr(0, 100)));
    if (w == ".align") {
      d.align = std::max(d.align, uint32_t(to_int(c.word())));
    } else if (w == ".v2" || w == ".v4") {
      vector = w[2] - '0';
    } else if (w == ".ptr" || w == ".global" || w == ".attribute") {
      continue;
    } else if (w[0] == '.') {
      d.element_bytes = type_bytes(w);
    } else {
      d.name = w;
    }
  }
  uint64_t elements = 1;
  while (c.take('[')) {
    const auto extent = trim(c.until(']'));
    d.open |= extent.empty();
    elements *= extent.empty() ? 0 : uint64_t(to_int(extent));
  }
  d.size = uint32_t(elements * uint64_t(d.element_bytes * vector));
  d.align = std::max(d.align, uint32_t(d.element_bytes * vector));
  return d;
}

namespace {

Argument parse_address(std::string_view inner) {
  Argument a;
  a.type = Argument::address;
  const auto pieces = split_list(inner);
  if (pieces.empty()) throw Unreadable("an empty address");
  if (pieces.size() > 1) a.items = parse_argument(pieces[1]).items;
  a.text = pieces[0];
  const size_t sign = a.text.find_first_of("+-", 1);
  if (sign != std::string_view::npos) {
    const int64_t by = to_int(trim(a.text.substr(sign + 1)));
    a.offset = a.text[sign] == '+' ? by : -by;
    a.text = trim(a.text.substr(0, sign));
  }
  return a;
}

}  // namespace

Argument parse_argument(std::string_view text) {
  text = trim(text);
  Argument a;
  if (text.empty()) throw Unreadable("an empty operand");
  if (text == "_") {
    a.type = Argument::underscore;
  } else if (text[0] == '!') {
    a = parse_argument(text.substr(1));
    a.negated = true;
  } else if (text[0] == '{' || text[0] == '(') {
    a.type = Argument::vector;
    for (const auto item : split_list(Cursor{text}.bracketed())) a.items.push_back(parse_argument(item));
  } else if (text[0] == '[') {
    a = parse_address(trim(Cursor{text}.bracketed()));
  } else {
    a.type = Argument::word;
    const size_t bar = text.find('|');
    a.text = trim(text.substr(0, bar));
    if (bar != std::string_view::npos) a.second = trim(text.substr(bar + 1));
  }
  return a;
}

Statement::Statement(std::string_view op_, std::string_view operands) : op(op_) {
  for (size_t begin = 0; begin <= op.size();) {
    const size_t end = std::min(op.find('.', begin), op.size());
    parts.push_back(op.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const auto a : split_list(operands)) args.push_back(parse_argument(a));
}

bool Statement::has(std::string_view qualifier) const {
  return std::find(parts.begin(), parts.end(), qualifier) != parts.end();
}

}  // namespace ptx
