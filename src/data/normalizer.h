// The text that a tokenizer's words are looked for in: with NFC where its normalizer asks for it, " " for a
// literal ▁ where the normalizer makes both the same, and maybe a space before it (bpe_stages.h).
//
// Text without need of any of these is not copied.
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
  // Where in the text offset `at` of view() lies; TextEdits::kNone where no place in the text is the same.
  size_t old_offset(size_t at) const;

 private:
  std::string copy_;
  std::string_view view_;
  size_t put_before_ = 0;  // bytes
  TextEdits marks_, nfc_;  // in this order
};

// How much of `text`, which goes on, is normalized in the same way whatever follows.
size_t certainly_normalized(const BpeStages& stages, std::string_view text);

// Whether normalizing never reaches across offset `at` of `text`.
bool normal_boundary(const BpeStages& stages, std::string_view text, size_t at);

}  // namespace saslm
