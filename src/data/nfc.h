// Unicode normal form C as in the `tokenizers` library, which follows Unicode 9. Newer characters are not
// changed, whatever ICU's version.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

// Maps offsets from a new text to the old: unchanged and replaced ranges, in order. Offsets are bytes.
class TextEdits {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  bool empty() const { return edits_.empty(); }
  // Adds a replacement; everything between replacements is unchanged.
  void replaced(size_t old_begin, size_t old_size, size_t new_begin, size_t new_size) {
    edits_.push_back({old_begin, old_begin + old_size, new_begin, new_begin + new_size});
  }
  // The old offset of offset `at` in the new text; kNone inside a replacement.
  size_t old_offset(size_t at) const;

 private:
  struct Edit {
    size_t old_begin, old_end, new_begin, new_end;
  };
  std::vector<Edit> edits_;
};

namespace nfc {

// Whether the texts before and after the place before `c` can be normalized independently.
bool boundary_before(char32_t c);

bool is_normal(std::string_view text);  // `text` must be well-formed UTF-8, also below

std::string normalized(std::string_view text, TextEdits& edits);

}  // namespace nfc

}  // namespace saslm
