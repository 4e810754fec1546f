// Text as the tokenizer's normalizer makes it: in NFC if the normalizer says so, with " " for a literal ▁ if
// the normalizer does not distinguish them, and possibly with an inserted space before it (bpe_stages.h).
//
// Text that needs no change is not copied.
#pragma once
#include <string>
#include <string_view>

#include "data/bpe_stages.h"
#include "data/nfc.h"

namespace saslm {

class NormalizedText {
 public:
  // `text` is well-formed UTF-8 and must outlive this.
  NormalizedText(const BpeStages& stages, std::string_view text, bool space_before);

  std::string_view view() const { return view_; }
  // The offset in the text of offset `at` in view(); TextEdits::kNone if there is none.
  size_t old_offset(size_t at) const;

 private:
  std::string copy_;
  std::string_view view_;
  size_t put_before_ = 0;  // bytes
  TextEdits marks_, nfc_;  // in this order
};

// How many bytes of `text` have a normal form that does not depend on the following text.
size_t certainly_normalized(const BpeStages& stages, std::string_view text);

// Whether both sides of offset `at` can be normalized independently.
bool normal_boundary(const BpeStages& stages, std::string_view text, size_t at);

}  // namespace saslm
