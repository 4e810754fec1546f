#include "check/twin.h"

namespace saslm {

TwinMemory::TwinMemory(const std::vector<CallView>& views, const Image& image, int64_t sequences,
                       int64_t positions)
    : views_(views),
      sequences_(sequences),
      positions_(positions),
      numbers_(views.size()),
      integers_(views.size()) {
  for (size_t i = 0; i < views.size(); ++i) {
    const CallView& v = views[i];
    const bool scratch = v.use.access == Use::Access::scratch;
    if (!v.begin || (scratch && v.type != CallView::Type::i32)) continue;  // take_scratch
    const bool sum = v.use.row == Use::Row::any && v.use.access == Use::Access::in_out;
    if (v.is_input() && !sum)
      numbers_[i] = image.numbers(v, sequences, positions);
    else
      numbers_[i].assign(size_t(Fold::rows(v, sequences, positions) * v.H * v.D), 0.0);
    if (v.type == CallView::Type::i32) integers_[i].assign(numbers_[i].begin(), numbers_[i].end());
  }
}

}  // namespace saslm
