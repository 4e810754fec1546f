// The expected results of a call, computed in double from the distinct tokens (call_views.h) by the CPU's
// operation, which is tested against the plain formula and numerical gradients.
#pragma once
#include "check/image.h"
#include "check/in_double.h"

namespace saslm {

// All views of a call in double, without gaps, for a number of sequences and positions. Accumulated outputs
// start at zero if they are sums over tokens, otherwise as in the image.
class TwinMemory {
 public:
  TwinMemory(const std::vector<CallView>& views, const Image& image, int64_t sequences, int64_t positions);

  template <class Args>
  void lend(Args& args) {
    size_t next = 0;
    describe(args, [&](const Use&, auto&... v) { (give(v, next++), ...); });
  }
  std::vector<double> result(size_t view) const {
    const std::vector<int32_t>& integers = integers_[view];
    return integers.empty() ? numbers_[view] : std::vector<double>(integers.begin(), integers.end());
  }

 private:
  template <class X>
  X* data(size_t i) {
    if constexpr (std::is_same_v<std::remove_const_t<X>, int32_t>)
      return integers_[i].data();
    else
      return numbers_[i].data();
  }
  template <class X>
  void give(Vec<X>& v, size_t i) {
    if (views_[i].begin) v = {data<X>(i), int64_t(numbers_[i].size())};
  }
  template <class X>
  void give(Mat<X>& v, size_t i) {
    if (views_[i].begin) v = saslm::mat(data<X>(i), int64_t(numbers_[i].size()) / views_[i].D, views_[i].D);
  }
  template <class X>
  void give(Heads<X>& v, size_t i) {
    if (views_[i].begin) v = heads_BTHD(data<X>(i), sequences_, positions_, views_[i].H, views_[i].D);
  }

  const std::vector<CallView>& views_;
  int64_t sequences_, positions_;
  std::vector<std::vector<double>> numbers_;
  std::vector<std::vector<int32_t>> integers_;
};

// Scratch of the size for fewer tokens.
template <class Args>
void take_scratch(Args&, std::vector<double>&) {}
inline void take_scratch(NormBwd<double>& a, std::vector<double>& scratch) {
  scratch.resize(size_t(norm_bwd_partials(a.x.rows) * 2 * a.x.cols));
  a.partial = mat(scratch.data(), norm_bwd_partials(a.x.rows), 2 * a.x.cols);
}
inline void take_scratch(HeadEmbeddingBwd<double>& a, std::vector<double>& scratch) {
  const int64_t rows = head_embedding_bwd_partials(a.dy.B * a.dy.T), cols = a.dy.H * a.dy.D;
  scratch.resize(size_t(rows * cols));
  a.partial = mat(scratch.data(), rows, cols);
}
inline void take_scratch(SasBwd<double>& a, std::vector<double>& scratch) {
  scratch.resize(size_t(sas_bwd_scratch(sas_shape(a.x, a.dy, a.w))));
  a.partial = {scratch.data(), int64_t(scratch.size())};
}

// For every output the expected numbers() of the image after the call; empty for other views.
template <class Args>
std::vector<std::vector<double>> wanted_of(const Args& args, const std::vector<CallView>& views,
                                           const Fold& fold, const Image& before) {
  std::vector<std::vector<double>> wanted(views.size());
  const auto add_part = [&](int64_t sequences, int64_t positions, int64_t times) {
    if (sequences == 0 || positions == 0 || times == 0) return;
    TwinMemory memory(views, before, sequences, positions);
    auto twin = in_double(args);
    std::vector<double> scratch;
    memory.lend(twin);
    take_scratch(twin, scratch);
    using Twin = decltype(twin);
    Launcher<double, Twin>::launch(cpu_ops<double>(), {}, twin);
    for (size_t i = 0; i < views.size(); ++i) {
      if (!views[i].begin || !views[i].is_output()) continue;
      const bool sum = views[i].use.row == Use::Row::any && views[i].use.access == Use::Access::in_out;
      const std::vector<double> part = memory.result(i);
      if (wanted[i].empty()) wanted[i] = sum ? before.numbers(views[i], sequences, positions) : part;
      for (size_t n = 0; sum && n < part.size(); ++n) wanted[i][n] += double(times) * part[n];
    }
  };
  const int64_t full_b = fold.B / fold.sequences, rest_b = fold.B % fold.sequences;
  const int64_t full_t = fold.T / fold.positions, rest_t = fold.T % fold.positions;
  add_part(fold.sequences, fold.positions, full_b * full_t);
  add_part(fold.sequences, rest_t, full_b);
  add_part(rest_b, fold.positions, full_t);
  add_part(rest_b, rest_t, 1);
  return wanted;
}

}  // namespace saslm
