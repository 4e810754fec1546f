// Every shipped config trains a step on cards of 99, 163 and 227 KiB of shared memory a block: cut down to
// one layer, few tokens and a narrow model, but with the heads, widths and kinds it has.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "bench/kernel_paths.h"
#include "core/file.h"
#include "train/engine.h"

namespace saslm {
namespace {

std::vector<Config> shipped_configs() {
  std::vector<Config> configs;
  for (const auto& entry : std::filesystem::directory_iterator(SASLM_CONFIGS_DIR)) {
    if (entry.path().filename().string().starts_with("compare_")) continue;
    configs.push_back(
        load_config(entry.path(), {"model.n_layer=1", "model.d_model=64", "model.mlp.hidden=64",
                                   "model.vocab_size=64", "model.max_seq_len=6", "train.seq_len=6",
                                   "train.micro_batch=1", "train.grad_accum=1", "train.global_batch=1"}));
  }
  return configs;
}

template <class T>
typename Engine<T>::Totals step(const Config& config, const Ops<T>& ops) {
  Engine<T> engine(config.model, training_shape(config), Mode::train, ops);
  engine.state().initialise(1);
  const int64_t tokens = config.train.seq_len;
  std::vector<int32_t> inputs, targets;
  for (int64_t i = 0; i < tokens; ++i)
    inputs.push_back(int32_t(7 * i % 64)), targets.push_back(int32_t(5 * i % 64));
  return engine.compute_gradients([&](int64_t) {
    return TokenBatch{.inputs = mat<const int32_t>(inputs.data(), 1, tokens),
                      .targets = mat<const int32_t>(targets.data(), 1, tokens)};
  });
}

// On the SIMT layer the device has as much as SASLM_SHARED_KIB says; a GPU has what it has.
TEST(CudaShipped, EveryConfigTrainsAStepOnEveryCard) {
  std::set<std::string> tried;
  for (const Config& config : shipped_configs())
    for (const char* kib : {"99", "163", "227"}) {
      setenv("SASLM_SHARED_KIB", kib, 1);
      const Ops<bf16>& ops = cuda_ops<bf16>();
      const simt::DeviceLimits card = ops.limits(*ops.open_stream());
      std::string key = std::to_string(card.shared_bytes / 1024) + " KiB";
      for (const KernelPath& path : kernel_paths<bf16>(config, card, 0)) {
        key += "\n  " + path.call + ": " + path.text;
        // Of widths that models are trained with all are on tensor cores, but the largest simulations'
        // backward on 99 KiB.
        const bool large = card.shared_bytes < 100 * 1024 && path.call.starts_with("sas_bwd");
        EXPECT_TRUE(path.why_slow.empty() || large || config.model.attention.head_dim < 32)
            << path.call << ": " << path.why_slow;
      }
      if (!tried.insert(key).second) continue;
      SCOPED_TRACE(key);
      const auto wanted = step(config, cpu_ops<float>());
      const auto got = step(config, ops);
      EXPECT_NEAR(got.loss, wanted.loss, 5e-3 * wanted.loss);
      EXPECT_NEAR(got.grad_norm, wanted.grad_norm, 5e-2 * wanted.grad_norm);
    }
  unsetenv("SASLM_SHARED_KIB");
  for (const std::string& key : tried) RecordProperty("step", key);
  EXPECT_GT(tried.size(), 10u);
}

}  // namespace
}  // namespace saslm
