#include "app/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <iostream>

#include "core/printable.h"

namespace saslm {

namespace {

class PrintableBuffer : public std::streambuf {
 public:
  explicit PrintableBuffer(std::streambuf* below) : below_(below) {}
  std::streambuf* below() const { return below_; }

 protected:
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    const std::string shown = printable_lines({text, size_t(count)});
    const auto length = std::streamsize(shown.size());
    return below_->sputn(shown.data(), length) == length ? count : 0;
  }
  int_type overflow(int_type c) override {
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    const char character = traits_type::to_char_type(c);
    return xsputn(&character, 1) == 1 ? c : traits_type::eof();
  }
  int sync() override { return below_->pubsync(); }

 private:
  std::streambuf* below_;
};

std::streambuf* below(std::streambuf* buffer) {
  const auto* printable = dynamic_cast<const PrintableBuffer*>(buffer);
  return printable != nullptr ? printable->below() : buffer;
}

void write_raw(std::ostream& stream, std::string_view text) {
  const auto length = std::streamsize(text.size());
  if (below(stream.rdbuf())->sputn(text.data(), length) != length) stream.setstate(std::ios::badbit);
  stream.flush();
}

// Number of bytes of an incomplete character at the end of `text`.
size_t unfinished(std::string_view text) {
  for (size_t n = 1; n <= std::min<size_t>(3, text.size()); ++n) {
    const auto byte = static_cast<unsigned char>(text[text.size() - n]);
    if (byte < 0x80) return 0;
    if (byte >= 0xC0) return n < (byte >= 0xF0 ? 4u : byte >= 0xE0 ? 3u : 2u) ? n : 0;
  }
  return 0;
}

}  // namespace

PrintableStreams::PrintableStreams()
    : out_(std::make_unique<PrintableBuffer>(std::cout.rdbuf())),
      err_(std::make_unique<PrintableBuffer>(std::cerr.rdbuf())),
      raw_out_(std::cout.rdbuf(out_.get())),
      raw_err_(std::cerr.rdbuf(err_.get())) {}

PrintableStreams::~PrintableStreams() {
  std::cout.rdbuf(raw_out_);
  std::cerr.rdbuf(raw_err_);
}

void print(const char* format, ...) {
  std::va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  std::string text(size_t(std::max(0, std::vsnprintf(nullptr, 0, format, arguments))), '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  va_end(arguments);
  std::cout << text;
}

void clear_line() {
  write_raw(std::cerr, "\r\033[2K");
}

GeneratedText::GeneratedText() : terminal_(isatty(STDOUT_FILENO) == 1) {}

void GeneratedText::add(std::string_view piece) {
  if (!terminal_) return write_raw(std::cout, piece);
  begun_ += piece;
  const size_t whole = begun_.size() - unfinished(begun_);
  std::cout << std::string_view(begun_).substr(0, whole) << std::flush;
  begun_.erase(0, whole);
}

void GeneratedText::end() {
  std::cout << begun_ << "\n";
  begun_.clear();
}

}  // namespace saslm
