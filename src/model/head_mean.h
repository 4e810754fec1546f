// The mean over the groups of simulated heads that belong to one real head, as SAS ends (PEAA;
// kernels/attention.h has the equation): W_O is then applied once instead of once per group. The attention
// core computes it.
#pragma once
#include "model/stage.h"

namespace saslm {

template <class T>
class HeadMean final : public HeadsStage<T> {
 public:
  static constexpr const char* kName = "mean";
  static constexpr bool kInCore = true;
  static bool present(const AttentionConfig& a) { return a.sas && a.sas->n_sim_head != a.n_head; }

  explicit HeadMean(const HeadsSpec<T>& s) {
    const auto heads = [&](Region region, const char* name) {
      const Heads<T>& x = s.in.shape;
      return s.layout.heads_BTHD(region, s.name + name, x.B, x.T, s.model.attention.n_head, x.D);
    };
    y_ = heads(Region::activations, "y");
    if (s.layout.training()) dy_ = heads(Region::scratch, "dy");
  }

  int64_t macs() const override { return 0; }
  Slot<Heads<T>> out() const override { return y_; }
  Slot<Heads<T>> out_grad() const override { return dy_; }

  void fwd(const Exec<T>&, Mat<const T>) const override {}
  void bwd(const Exec<T>&) const override {}

 private:
  Slot<Heads<T>> y_, dy_;  // (B, T, H, Dv)
};

}  // namespace saslm
