// PTX text cut into words, lists, declarations and operands (PTX ISA, "Syntax").
// Everything returned points into the text, which must outlive it. What is not understood throws Unreadable.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ptx {

struct Unreadable : std::runtime_error {
  using runtime_error::runtime_error;
};

std::string_view trim(std::string_view text);
std::vector<std::string_view> split_list(
    std::string_view text);  // at commas outside of brackets; none is empty
uint32_t round_up(uint64_t n, uint64_t to);
int64_t to_int(std::string_view text);   // of C's literals; 0 when there is none
int type_bytes(std::string_view type);   // ".b32", "b32"; of a predicate 1
void blank_comments(std::string& text);  // so that lines keep their numbers

// A place in the text, and its line.
struct Cursor {
  std::string_view text;
  size_t at = 0;
  int line = 1;

  void skip_blanks();
  bool done();
  char peek();                       // after blanks; 0 at the end
  bool take(char c);                 // whether it came next
  std::string_view word();           // letters, digits, _ $ % . and ::
  std::string_view until(char end);  // what stands before it; behind it goes on
  std::string_view bracketed();      // between '(' or '{', which comes next, and its partner
};

// ".align 8 .b8 name[72]" and the like, as it follows .param, .shared, .local, .global, .const.
struct Declaration {
  std::string_view name;
  uint32_t align = 1, size = 0;
  int element_bytes = 1;
  bool open = false;  // name[]: size is given by the launch
};
Declaration parse_declaration(std::string_view text);

struct Argument {
  enum Type { none, word, address, vector, underscore } type = none;
  std::string_view text;        // word: a register, name or number; address: its base
  std::string_view second;      // word: what stands behind '|'
  int64_t offset = 0;           // address
  bool negated = false;         // !p
  std::vector<Argument> items;  // of a vector or list; of an address: a tensor's coordinates
};
Argument parse_argument(std::string_view text);

struct Statement {
  std::string_view op;                  // with its qualifiers
  std::vector<std::string_view> parts;  // op cut at dots
  std::vector<Argument> args;

  Statement() = default;
  Statement(std::string_view op, std::string_view operands);
  bool has(std::string_view qualifier) const;
};

}  // namespace ptx
