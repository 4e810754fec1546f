// The memory of one call as the host sees it: before it is made, and after. What no input fills is poison: a
// NaN in every type of float. So are gaps between views, guards before and behind them, and what outputs and
// scratch hold before the call.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bench/kernel_call.h"
#include "check/call_views.h"

namespace saslm {

constexpr std::byte kPoison{0xff};
constexpr int64_t kGuardBytes = 1024;

class Image {
 public:
  explicit Image(const Packing& packing) : packing_(&packing), bytes_(size_t(packing.bytes()), kPoison) {}

  std::byte* data() { return bytes_.data(); }
  const std::byte* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  std::byte* of(const CallView& v) { return packing_->at(bytes_.data(), v.begin); }
  const std::byte* of(const CallView& v) const { return const_cast<Image*>(this)->of(v); }
  // As doubles, row by row: those of Fold::rows for so many sequences and positions.
  std::vector<double> numbers(const CallView& v, int64_t sequences, int64_t positions) const;

 private:
  const Packing* packing_;
  std::vector<std::byte> bytes_;
};

// The element of a view's row that Fold counts.
using Contents = std::function<double(size_t view, int64_t row, int64_t h, int64_t d)>;
// As the bench draws them, but every view for itself.
double drawn(const Use& use, size_t view, int64_t index);

void fill(Image& image, const std::vector<CallView>& views, const Fold& fold, const Contents& contents);

// What a call must not do, whatever it computes: leave an output unwritten or not finite, write outside of
// its outputs and scratch. "" where it has done neither.
std::string trespass(const Image& before, const Image& after, const std::vector<CallView>& views);
// Whether all outputs have the same bits.
bool same_outputs(const Image& a, const Image& b, const std::vector<CallView>& views);

// Where terms cancel, a small result may carry the rounding of large ones, which are as large as what is
// typically wanted: the root mean square of all that is, or of the row where that is greater; of the row
// alone (or a 64th of all, for rows that cancel themselves) where rows differ in size, as those of
// attention's first and last keys do; none where nothing cancels.
enum class Scale { all, row, none };

// The first element that is no number, or is further from what is wanted than relative * (|wanted| +
// typical); "" without one. wanted: as numbers() gives them, of what Fold keeps.
std::string deviation(const CallView& v, const Fold& fold, const std::vector<double>& wanted,
                      const Image& got, double relative, Scale scale);
double root_mean_square(const double* x, int64_t count);
double typical(Scale scale, double of_all, double of_row);
// "got 3, wanted 2 within 0.01"; "" when it is.
std::string beside(double got, double wanted, double bound);

}  // namespace saslm
