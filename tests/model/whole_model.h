// The checks every attention variant must pass as part of a whole model (test_transformer.cpp): slopes,
// cache, causality. A variant's own test file adds models to them:
//
//   INSTANTIATE_TEST_SUITE_P(Foo, WholeModel, testing::ValuesIn(foo_cases()), name_of_case);
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "config/config.h"

namespace saslm {

constexpr int64_t kBatch = 2, kSeqLen = 5, kVocab = 11;

inline ModelConfig tiny(AttentionKind kind) {
  ModelConfig model;
  model.vocab_size = kVocab;
  model.n_layer = 2;
  model.d_model = 6;
  model.max_seq_len = 8;
  model.attention.kind = kind;
  model.attention.n_head = 2;
  model.attention.head_dim = 4;
  model.attention.projection = GqaConfig{kind == AttentionKind::mqa ? 1 : 2};
  model.mlp.hidden = 7;
  if (kind == AttentionKind::sas)
    model.attention.sas = SasConfig{.n_sim_head = 4, .sim_head_dim = 6, .kernel_size = 3};
  return model;
}

struct ModelCase {
  std::string name;
  ModelConfig model;
};

class WholeModel : public testing::TestWithParam<ModelCase> {};

inline std::string name_of_case(const testing::TestParamInfo<ModelCase>& test) {
  return test.param.name;
}

}  // namespace saslm
