// Input: a file given to `saslm tokenize`: sniffed, decompressed, without its byte order mark.
#include "core/error.h"
#include "data/text_input.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_input {

std::string read_all(TextInput& input, size_t at_once) {
  std::string text, piece(at_once, '\0');
  while (const size_t n = input.read(piece)) {
    text.append(piece, 0, n);
    if (text.size() > size_t(1) << 22) break;  // what is packed tight
  }
  return text;
}

bool run(std::string_view input) {
  static const Scratch scratch;
  const std::string path = scratch.write("x", input);
  return accepts<ContentError>([&] {
    TextInput first(path, InputFormat::automatic), second(path, InputFormat::automatic);
    const int64_t begin = first.offset();
    require(begin == 0 || begin == 3, "nothing but a byte order mark is left out");
    const std::string text = read_all(first, 4096);
    const std::string again = read_all(second, 37);
    require(text == again.substr(0, text.size()), "the text does not depend on how it is read");
    require(first.offset() == begin + int64_t(text.size()), "what was read is counted");
    TextInput third(path, InputFormat::automatic);
    const auto middle = begin + int64_t(text.size() / 2);
    third.skip_to(middle);
    require(third.offset() == middle, "a place that was reached is reached again");
    if (text.size() < size_t(1) << 22)
      require(read_all(third, 999) == text.substr(size_t(middle - begin)), "skipping is reading");
  });
}

std::vector<std::string> seeds() {
  using namespace std::string_literals;
  return {"plain text\n", "\xef\xbb\xbfwith a mark", "",
          // gzip, zstd (raw block) and xz of "hi\n"
          "\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\xc8\xe4\x02\0\x7a\x7a\x6f\xed\x03\0\0\0"s,
          "\x28\xb5\x2f\xfd\x04\x58\x19\0\0hi\n4=P\x92"s};
}

}  // namespace of_input

const Target kInput = {"input", of_input::run, of_input::seeds, {"PAR1", "%PDF-"}};

}  // namespace saslm::fuzz
