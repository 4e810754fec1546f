// Safe output to terminals. Names, paths and keys may contain terminal escapes; none of them are printed
// (core/printable.h).
//
// While PrintableStreams exists, it filters all output to std::cout and std::cerr, also of print(). printf
// and the like are not used (scripts/check_terminal.py checks this). Newlines are not filtered, so names that
// could contain one must go through printable().
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

// printf to standard output.
[[gnu::format(printf, 1, 2)]] void print(const char* format, ...);

// Erases the live line on standard error, if there is one.
void clear_line();

// Prints a model's text piece by piece: unchanged bytes to a file or pipe; to a terminal, only complete
// characters, and no control characters except newlines and tabs.
class GeneratedText {
 public:
  GeneratedText();
  void add(std::string_view piece);
  void end();  // prints a newline

 private:
  bool terminal_;
  std::string begun_;  // an incomplete character
};

}  // namespace saslm
