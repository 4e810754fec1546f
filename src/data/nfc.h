// Unicode's normal form C, as the `tokenizers` library makes it: by the rules of Unicode 9. Characters that
// are younger are left as they are, whatever version the ICU library here has.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

// How one text became another: runs that stayed and runs that were replaced, in order. Offsets are bytes.
class TextEdits {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  bool empty() const { return edits_.empty(); }
  // What lies before the first, between two and after the last replacement stayed.
  void replaced(size_t old_begin, size_t old_size, size_t new_begin, size_t new_size) {
    edits_.push_back({old_begin, old_begin + old_size, new_begin, new_begin + new_size});
  }
  // Where in the old text offset `at` of the new one lies; kNone inside what was put in.
  size_t old_offset(size_t at) const;

 private:
  struct Edit {
    size_t old_begin, old_end, new_begin, new_end;
  };
  std::vector<Edit> edits_;
};

namespace nfc {

// Whether normalizing never reaches across the place before `c`: both sides can be normalized apart.
bool boundary_before(char32_t c);

bool is_normal(std::string_view text);  // which is well-formed UTF-8, as below

std::string normalized(std::string_view text, TextEdits& edits);

}  // namespace nfc

}  // namespace saslm
