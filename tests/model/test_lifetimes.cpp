// Who reads a buffer that is dead computes NaN, in a model whose arena poisons (core/arena.h): ctest runs all
// models so once more. Here: that it does poison, that this changes no result, and that scopes refuse an
// order of declarations in which living buffers would overlap.
#include <stdlib.h>

#include <cmath>

#include "tests/model/whole_model.h"
#include "train/engine.h"

namespace saslm {
namespace {

// For the arenas that are made while it lives.
class Poisoning {
 public:
  explicit Poisoning(bool on) {
    if (const char* const was = ::getenv(kVariable)) was_ = was;
    ::setenv(kVariable, on ? "1" : "0", 1);
  }
  ~Poisoning() { was_.empty() ? ::unsetenv(kVariable) : ::setenv(kVariable, was_.c_str(), 1); }

 private:
  static constexpr const char* kVariable = "SASLM_POISON";
  std::string was_;
};

ModelConfig everything() {
  ModelConfig model = tiny(AttentionKind::mla);
  model.attention.n_head = 4;
  model.attention.projection = MlaConfig{.q_rank = 5, .kv_rank = 4, .nope_dim = 3, .rope_dim = 4, .v_dim = 2};
  model.attention.head_dim = 7;
  model.attention.sas = SasConfig{.n_sim_head = 8, .sim_head_dim = 6, .kernel_size = 3};
  model.attention.moh = MohConfig{.n_shared_head = 2, .top_k = 1, .balance_weight = 2};
  return model;
}

Engine<double> engine(bool poisons, Mode mode, Recompute recompute = Recompute::none) {
  const Poisoning poisoning(poisons);
  return {everything(), {.batch = 1, .seq_len = kSeqLen, .recompute = recompute}, mode, cpu_ops<double>()};
}

const std::vector<int32_t> kTokens = {3, 1, 4, 1, 5};
const TokenBatch kTokenBatch{.inputs = mat(kTokens.data(), 1, kSeqLen),
                             .targets = mat(kTokens.data(), 1, kSeqLen)};

std::vector<double> train(Engine<double>& engine) {
  engine.state().initialise(7);
  const auto totals = engine.compute_gradients([](int64_t) { return kTokenBatch; });
  const Vec<double> gradients = engine.arena().gradients();
  std::vector<double> all(gradients.data, gradients.data + gradients.size);
  all.push_back(totals.loss);
  all.push_back(*totals.aux_loss);
  return all;
}

int64_t count_nan(const Engine<double>& engine, Region region) {
  const Extent all{region, 0, engine.layout().region_bytes(region)};
  const auto* const values = reinterpret_cast<const double*>(engine.arena().begin_of(all));
  return std::count_if(values, values + all.bytes / 8, [](double x) { return std::isnan(x); });
}

TEST(Poison, FillsAllThatIsDeadAfterACallAndChangesNoResult) {
  for (const Recompute recompute : {Recompute::none, Recompute::sim, Recompute::block}) {
    Engine<double> plain = engine(false, Mode::train, recompute),
                   poisoned = engine(true, Mode::train, recompute);
    const std::vector<double> wanted = train(plain);
    EXPECT_TRUE(std::all_of(wanted.begin(), wanted.end(), [](double x) { return std::isfinite(x); }));
    EXPECT_EQ(train(poisoned), wanted) << name_of(recompute);
    for (const Region region : {Region::activations, Region::scratch}) {
      EXPECT_EQ(count_nan(poisoned, region), poisoned.layout().region_bytes(region) / 8) << name_of(region);
      EXPECT_EQ(count_nan(plain, region), 0) << name_of(region);
    }
  }
}

TEST(Poison, SparesTheCacheOfInference) {
  Engine<double> plain = engine(false, Mode::infer), poisoned = engine(true, Mode::infer);
  std::vector<double> wanted, got;
  for (Engine<double>* one : {&plain, &poisoned}) {
    one->state().initialise(7);
    for (int64_t t = 0; t < kSeqLen; ++t)
      one->model().next_logits(one->backend(), {.inputs = mat(kTokens.data() + t, 1, 1), .start = t},
                               one == &plain ? wanted : got);
  }
  EXPECT_EQ(got, wanted);
  EXPECT_GT(count_nan(poisoned, Region::activations), 0);
}

// A sublayer that reads what its own call left behind.
TEST(Poison, ShowsWhoReadsABufferAfterItsScope) {
  const Poisoning poisoning(true);
  Layout<double> layout(Mode::train);
  Extent scratch;
  Slot<Vec<double>> buffer;
  {
    const Layout<double>::Scope scope(layout, Region::scratch, &scratch);
    buffer = layout.vec<double>(Region::scratch, "buffer", 3);
  }
  const Arena<double> arena(layout, allocate_host(layout.bytes()));
  const Exec<double> e{{cpu_ops<double>(), arena, Stream()}, 1, 1, 0};
  const Vec<double> values = arena.at(buffer);
  {
    const auto alive = e.alive(scratch);
    EXPECT_TRUE(std::isnan(values[1]));  // of an earlier call
    values[1] = 5;
    EXPECT_EQ(values[1], 5);
  }
  EXPECT_TRUE(std::isnan(values[1]));
}

}  // namespace
}  // namespace saslm
