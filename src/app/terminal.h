// What people read: standard output, standard error. Names, paths and keys come from others and may hold what
// a terminal obeys; none of that gets through, whoever prints it (core/printable.h).
//
// While PrintableStreams lives, all that goes to std::cout and std::cerr is so; print() goes there, too.
// printf and the like are not used: scripts/check_terminal.py says where. Breaks within a line are the
// printer's own, so a name that must not forge one is printed by printable().
#pragma once
#include <memory>
#include <streambuf>
#include <string>
#include <string_view>

namespace saslm {

class PrintableStreams {
 public:
  PrintableStreams();
  ~PrintableStreams();

 private:
  std::unique_ptr<std::streambuf> out_, err_;
  std::streambuf *raw_out_, *raw_err_;
};

// To standard output, as printf.
[[gnu::format(printf, 1, 2)]] void print(const char* format, ...);

// Standard error's live line, if there is one, is wiped.
void clear_line();

// A model's text on standard output, piece by piece: byte for byte to a file or pipe; to a terminal,
// characters once they are whole, and none that it obeys but line breaks and tabs.
class GeneratedText {
 public:
  GeneratedText();
  void add(std::string_view piece);
  void end();  // with a line break

 private:
  bool terminal_;
  std::string begun_;  // a character
};

}  // namespace saslm
