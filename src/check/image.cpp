#include "check/image.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace saslm {
namespace {

// use(b, t, h): every row of D elements.
template <class Each>
void each_row(const CallView& v, Each use) {
  const int64_t rows = v.B * v.T * v.H;
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; ++r) use(r / v.H / v.T, r / v.H % v.T, r % v.H);
}

struct Piece {
  int64_t first, end;  // bytes of the image
};
// What a call may write, ascending, neighbours joined.
std::vector<Piece> writable(const Image& image, const std::vector<CallView>& views, bool scratch) {
  std::vector<Piece> pieces;
  for (const CallView& v : views) {
    if (!v.begin || v.use.access == Use::Access::in || (v.use.access == Use::Access::scratch && !scratch))
      continue;
    const int64_t at = image.of(v) - image.data();
    for (int64_t b = 0; b < v.B; ++b)
      for (int64_t t = 0; t < v.T; ++t)
        for (int64_t h = 0; h < v.H; ++h) {
          const int64_t first = at + v.offset(b, t, h), end = first + v.D * v.element_bytes();
          if (!pieces.empty() && pieces.back().end == first)
            pieces.back().end = end;
          else
            pieces.push_back({first, end});
        }
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.first < b.first; });
  return pieces;
}

std::string where(const CallView& v, int64_t b, int64_t t, int64_t h, int64_t d) {
  return "element (" + std::to_string(b) + ", " + std::to_string(t) + ", " + std::to_string(h) + ", " +
         std::to_string(d) + ") of an output of " + v.dims();
}

// The least row, in order, that says something.
class First {
 public:
  void offer(int64_t row, const std::string& text) {
#pragma omp critical(first_deviation)
    if (row_ < 0 || row < row_) row_ = row, text_ = text;
  }
  const std::string& text() const {
    return text_;
  }

 private:
  int64_t row_ = -1;
  std::string text_;
};

std::string unwritten(const Image& after, const CallView& v) {
  First first;
  each_row(v, [&](int64_t b, int64_t t, int64_t h) {
    const std::byte* row = after.of(v) + v.offset(b, t, h);
    for (int64_t d = 0; d < v.D; ++d) {
      const double x = get(row, v.type, d);
      if (std::isfinite(x) && (v.type != CallView::Type::i32 || x != -1)) continue;
      first.offer((b * v.T + t) * v.H + h, where(v, b, t, h, d) + " was not written, or is not finite");
      return;
    }
  });
  return first.text();
}

}  // namespace

std::vector<double> Image::numbers(const CallView& v, int64_t sequences, int64_t positions) const {
  const bool token = v.use.row == Use::Row::token;
  const int64_t T = v.use.row == Use::Row::any ? v.T : positions, rows = Fold::rows(v, sequences, positions);
  std::vector<double> all(size_t(rows * v.H * v.D));
  const std::byte* begin = of(v);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t h = 0; h < v.H; ++h) {
      const int64_t b = token || v.use.row == Use::Row::any ? r / T : 0, t = r % T;
      for (int64_t d = 0; d < v.D; ++d)
        all[size_t((r * v.H + h) * v.D + d)] = get(begin + v.offset(b, t, h), v.type, d);
    }
  return all;
}

double drawn(const Use& use, size_t view, int64_t index) {
  float x = 0;
  int32_t i = 0;
  const int64_t own = (int64_t(view) + 1) * 1000003 + index * 64;
  if (use.below > 0) {
    draw(&i, own, 1, use);
    return i;
  }
  draw(&x, own, 1, use);
  return x;
}

void fill(Image& image, const std::vector<CallView>& views, const Fold& fold, const Contents& contents) {
  for (size_t i = 0; i < views.size(); ++i) {
    const CallView& v = views[i];
    if (!v.begin || !v.is_input()) continue;
    std::byte* const begin = image.of(v);
    const auto own = [&](int64_t b, int64_t t) {  // not the repetition of another
      return v.use.row == Use::Row::any || (b < fold.sequences && t < fold.positions);
    };
    each_row(v, [&](int64_t b, int64_t t, int64_t h) {
      if (own(b, t))
        for (int64_t d = 0; d < v.D; ++d)
          put(begin + v.offset(b, t, h), v.type, d, contents(i, fold.row(v, b, t), h, d));
    });
    each_row(v, [&](int64_t b, int64_t t, int64_t h) {
      if (!own(b, t))
        std::memcpy(begin + v.offset(b, t, h), begin + v.offset(b % fold.sequences, t % fold.positions, h),
                    size_t(v.D * v.element_bytes()));
    });
  }
}

std::string trespass(const Image& before, const Image& after, const std::vector<CallView>& views) {
  for (const CallView& v : views)
    if (v.begin && v.is_output())
      if (const std::string text = unwritten(after, v); !text.empty()) return text;
  int64_t done = 0;
  std::vector<Piece> pieces = writable(before, views, true);
  pieces.push_back({int64_t(before.size()), int64_t(before.size())});
  for (const Piece& piece : pieces) {
    if (piece.first > done &&
        std::memcmp(before.data() + done, after.data() + done, size_t(piece.first - done)) != 0)
      return "it wrote memory that is neither output nor scratch: an input, a guard, or a gap between rows";
    done = std::max(done, piece.end);
  }
  return "";
}

bool same_outputs(const Image& a, const Image& b, const std::vector<CallView>& views) {
  for (const Piece& piece : writable(a, views, false))
    if (std::memcmp(a.data() + piece.first, b.data() + piece.first, size_t(piece.end - piece.first)) != 0)
      return false;
  return true;
}

double root_mean_square(const double* x, int64_t count) {
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) squares += x[i] * x[i];
  return std::sqrt(squares / double(std::max<int64_t>(1, count)));
}

double typical(Scale scale, double of_all, double of_row) {
  return scale == Scale::none ? 0 : std::max(of_row, scale == Scale::row ? of_all / 64 : of_all);
}

std::string beside(double got, double wanted, double bound) {
  if (std::abs(got - wanted) <= bound) return "";  // not of NaN
  char text[128];
  std::snprintf(text, sizeof text, "got %.9g, wanted %.9g within %.2g", got, wanted, bound);
  return text;
}

std::string deviation(const CallView& v, const Fold& fold, const std::vector<double>& wanted,
                      const Image& got, double relative, Scale scale) {
  const double of_all = root_mean_square(wanted.data(), int64_t(wanted.size()));
  First first;
  each_row(v, [&](int64_t b, int64_t t, int64_t h) {
    const std::byte* row = got.of(v) + v.offset(b, t, h);
    const double* want = wanted.data() + (fold.row(v, b, t) * v.H + h) * v.D;
    const double size = typical(scale, of_all, root_mean_square(want, v.D));
    for (int64_t d = 0; d < v.D; ++d) {
      const double bound = v.type == CallView::Type::i32 ? 0 : relative * (std::abs(want[d]) + size);
      const std::string text = beside(get(row, v.type, d), want[d], bound);
      if (text.empty()) continue;
      first.offer((b * v.T + t) * v.H + h, where(v, b, t, h, d) + ": " + text);
      return;
    }
  });
  return first.text();
}

}  // namespace saslm
