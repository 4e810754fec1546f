// Host image of a call's memory, before and after it. Everything except inputs is poisoned with a bit pattern
// that is NaN in every float type: gaps between views, guards before and after them, and outputs and scratch
// before the call.
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
  // As doubles, row by row: the rows of Fold::rows for a number of sequences and positions.
  std::vector<double> numbers(const CallView& v, int64_t sequences, int64_t positions) const;

 private:
  const Packing* packing_;
  std::vector<std::byte> bytes_;
};

// The value of an element, by view, row (as counted by Fold) and index.
using Contents = std::function<double(size_t view, int64_t row, int64_t h, int64_t d)>;
// Random values as in the bench, but different for every view.
double drawn(const Use& use, size_t view, int64_t index);

void fill(Image& image, const std::vector<CallView>& views, const Fold& fold, const Contents& contents);

// Describes a violation that is independent of values: an output that is unwritten or not finite, or a write
// outside of outputs and scratch; "" if there is none.
std::string trespass(const Image& before, const Image& after, const std::vector<CallView>& views);
// Whether all outputs are bit-identical.
bool same_outputs(const Image& a, const Image& b, const std::vector<CallView>& views);

// The typical value of an error bound. If terms cancel, a small result has the rounding error of large terms,
// which are about as large as typical results. all: the root mean square of all expected values, or of the
// row if that is larger. row: of the row (at least a 64th of all, for rows that cancel), if rows differ in
// size, like those of attention's first and last keys. none: nothing cancels.
enum class Scale { all, row, none };

// The first element that is not finite, or differs by more than relative * (|wanted| + typical); "" if there
// is none. `wanted`: as from numbers(), for the distinct rows of Fold.
std::string deviation(const CallView& v, const Fold& fold, const std::vector<double>& wanted,
                      const Image& got, double relative, Scale scale);
double root_mean_square(const double* x, int64_t count);
double typical(Scale scale, double of_all, double of_row);
// "got 3, wanted 2 within 0.01"; "" if it is within the bound.
std::string beside(double got, double wanted, double bound);

}  // namespace saslm
