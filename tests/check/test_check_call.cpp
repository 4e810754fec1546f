// Calls of whole runs held to their oracles, on the CPU's table: none alarms where all is right, and each
// fault that is planted is found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bench/recording.h"
#include "check/check_call.h"
#include "core/error.h"

namespace saslm {
namespace {

using testing::HasSubstr;

Config shipped(const std::string& name) {
  Config config = load_config(std::string(SASLM_CONFIGS_DIR) + "/" + name + ".json", {});
  config.train.micro_batch = config.train.global_batch = 5;  // more than the sequences that differ
  config.train.grad_accum = 1;
  config.train.seq_len = 70;
  config.model.n_layer = 1;
  return config;
}

// What is wrong with the calls of an operation, the first of each; "" where nothing is.
std::string wrong(const Config& config, const Ops<float>& ops, const std::string& only = "") {
  for (const KernelCall<float>& call : record_run<float>(config))
    if (only.empty() || call.op == only)
      for (const PathResult& result : check_call(call, ops))
        if (!result.why.empty()) return call.op + " " + call.shape + ": " + result.why;
  return "";
}

class EveryKind : public testing::TestWithParam<const char*> {};
TEST_P(EveryKind, RaisesNoAlarmWhereAllIsRight) {
  EXPECT_EQ(wrong(shipped(GetParam()), cpu_ops<float>()), "");
}
INSTANTIATE_TEST_SUITE_P(CheckCall, EveryKind,
                         testing::Values("debug_cpu_mha", "debug_cpu_gqa", "debug_cpu_mla", "debug_cpu_tpa",
                                         "debug_cpu_mhe", "debug_cpu_moh", "debug_cpu_window",
                                         "debug_cpu_sas"),
                         [](const auto& test) { return std::string(test.param); });

// A mistake in one operation of the table, and what is to be said of it.
struct Fault {
  const char *config, *op;
  void (*plant)(Ops<float>&);
  const char* says;
};
// The right call, and what is done to its arguments before or to its results after.
template <class Args, void (*Ops<float>::*Entry)(Stream, const Args&), auto Spoil>
void spoiled(Stream stream, const Args& a) {
  Args spoilt = a;
  if constexpr (requires { Spoil(spoilt); }) Spoil(spoilt);
  (cpu_ops<float>().*Entry)(stream, spoilt);
  if constexpr (requires { Spoil(a, 0); }) Spoil(a, 0);
}
template <auto Entry, auto Spoil>
void plant(Ops<float>& ops) {
  [&]<class Args>(void (*Ops<float>::*entry)(Stream, const Args&)) {
    ops.*entry = spoiled<Args, Entry, Spoil>;
  }(Entry);
}
template <class X>
void clear(Vec<X> v) {
  std::fill_n(v.data, v.size, X(0));
}

using O = Ops<float>;
const Fault kFaults[] = {
    {"mha", "embedding_fwd",
     plant<&O::embedding_fwd, [](const EmbeddingFwd<float>& a, int) { a.x[a.x.rows - 1][0] += 0.01f; }>,
     "wanted"},
    {"mha", "embedding_bwd",
     plant<&O::embedding_bwd,
           [](EmbeddingBwd<float>& a) {
             --a.dx.rows, --a.tokens.size;
             a.scratch.size -= 4;
           }>,
     "wanted"},
    {"mha", "norm_fwd", plant<&O::norm_fwd, [](NormFwd<float>& a) { a.eps += 0.01; }>, "wanted"},
    {"mha", "norm_bwd", plant<&O::norm_bwd, [](const NormBwd<float>& a, int) { clear(a.dw); }>, "wanted"},
    {"mha", "matmul_fwd",
     plant<&O::matmul_fwd,
           [](MatmulFwd<float>& a) {
             --a.y.cols, --a.w.rows;
             a.residual.cols -= a.residual ? 1 : 0;
           }>,
     "was not written"},
    {"mha", "matmul_fwd",
     plant<&O::matmul_fwd, [](const MatmulFwd<float>& a, int) { a.y[a.y.rows - 1][a.y.cols] = 1; }>,
     "it wrote memory"},
    {"mha", "matmul_fwd", plant<&O::matmul_fwd, [](MatmulFwd<float>& a) { a.residual = {}; }>, "wanted"},
    {"mha", "matmul_bwd",
     plant<&O::matmul_bwd,
           [](const MatmulBwd<float>& a, int) {
             if (a.dw) a.dw[a.dw.rows - 1][a.dw.cols - 1] = 0;
           }>,
     "wanted"},
    {"mha", "matmul_bwd", plant<&O::matmul_bwd, [](MatmulBwd<float>& a) { a.dx_accumulate = false; }>,
     "wanted"},
    {"mha", "activation_fwd",
     plant<&O::activation_fwd,
           [](const ActivationFwd<float>& a, int) { const_cast<float&>(a.up[0][0]) = 0; }>,
     "it wrote memory"},
    {"mha", "activation_bwd",
     plant<&O::activation_bwd, [](ActivationBwd<float>& a) { std::swap(a.dgate, a.dup); }>, "wanted"},
    {"mha", "rope_fill", plant<&O::rope_fill, [](RopeFill<float>& a) { a.base *= 1.001; }>, "wanted"},
    {"mha", "rope", plant<&O::rope, [](Rope<float>& a) { a.inverse = false; }>, "wanted"},
    {"mla", "repeat_heads_fwd",
     plant<&O::repeat_heads_fwd, [](RepeatHeadsFwd<float>& a) { a.x.b_stride = 0; }>, "wanted"},
    {"mla", "repeat_heads_bwd",
     plant<&O::repeat_heads_bwd, [](const RepeatHeadsBwd<float>& a, int) { *a.dx.at(4, 69, 0) += 0.01f; }>,
     "(4, 69, 0, 0)"},
    {"tpa", "tensor_product_fwd",
     plant<&O::tensor_product_fwd, [](TensorProductFwd<float>& a) { a.a.t_stride = 0; }>, "wanted"},
    {"tpa", "tensor_product_bwd",
     plant<&O::tensor_product_bwd,
           [](TensorProductBwd<float>& a) { a.b = a.b.time_range(0, a.b.T), a.dy.h_stride = 0; }>,
     "wanted"},
    {"mhe", "head_embedding_fwd",
     plant<&O::head_embedding_fwd,
           [](const HeadEmbeddingFwd<float>& a, int) {
             static float tiny = 0;
             *a.y.at(0, 0, 0) *= 1 + (tiny += 1e-6f);
           }>,
     "different bits"},
    {"mhe", "head_embedding_bwd",
     plant<&O::head_embedding_bwd,
           [](HeadEmbeddingBwd<float>& a) {
             --a.dy.T, --a.x.T;
             a.dx.T -= 1, a.partial.rows = head_embedding_bwd_partials(a.dy.B * a.dy.T);
           }>,
     "was not written"},
    {"sas", "sas_fwd", plant<&O::sas_fwd, [](SasFwd<float>& a) { a.rope = {}; }>, "wanted"},
    {"sas", "sas_fwd", plant<&O::sas_fwd, [](const SasFwd<float>&, int) { throw MachineError("no room"); }>,
     "cannot be launched: no room"},
    {"sas", "sas_bwd", plant<&O::sas_bwd, [](const SasBwd<float>& a, int) { clear(a.dw.conv2_b); }>,
     "wanted"},
    {"sas", "attention_fwd", plant<&O::attention_fwd, [](AttentionFwd<float>& a) { a.scale *= 1.02; }>,
     "wanted"},
    {"sas", "attention_fwd",
     plant<&O::attention_fwd, [](const AttentionFwd<float>& a, int) { a.y.at(4, 69, a.y.H - 1)[0] = 1; }>,
     "y(4"},
    {"gqa", "attention_bwd",
     plant<&O::attention_bwd,
           [](const AttentionBwd<float>& a, int) { a.dk.at(4, 69, a.dk.H - 1)[0] += 0.01f; }>,
     "dk(4, 69"},
    {"gqa", "attention_bwd", plant<&O::attention_bwd, [](AttentionBwd<float>& a) { a.scale *= 1.02; }>,
     "wanted"},
    {"window", "attention_fwd", plant<&O::attention_fwd, [](AttentionFwd<float>& a) { ++a.mask.window; }>,
     "wanted"},
    {"window", "attention_bwd", plant<&O::attention_bwd, [](AttentionBwd<float>& a) { --a.mask.window; }>,
     "wanted"},
    {"moh", "head_gates_fwd", plant<&O::head_gates_fwd, [](HeadGatesFwd<float>& a) { a.x.b_stride = 0; }>,
     "wanted"},
    {"moh", "head_gates_bwd", plant<&O::head_gates_bwd, [](HeadGatesBwd<float>& a) { a.aux_weight *= 2; }>,
     "wanted"},
    {"moh", "head_gates_bwd",
     plant<&O::head_gates_bwd, [](const HeadGatesBwd<float>& a, int) { a.load[0] += 1e-3f; }>, "wanted"},
    {"mha", "cross_entropy",
     plant<&O::cross_entropy,
           [](const CrossEntropy<float>& a, int) {
             if (a.scale != 0)
               for (int64_t c = 0; c < a.logits.cols; ++c)
                 if (c != a.targets[0]) a.logits[0][c] = 0;
           }>,
     "wanted"},
    {"mha", "adamw", plant<&O::adamw, [](AdamW<float>& a) { a.weight_decay = 0; }>, "wanted"},
    {"mha", "accumulate", plant<&O::accumulate, [](Accumulate<float>& a) { --a.y.size, --a.x.size; }>,
     "wanted"},
    {"mha", "block_squares",
     plant<&O::block_squares, [](const BlockSquares<float>& a, int) { a.out[a.out.size - 1] *= 1 + 1e-6; }>,
     "block"},
};

Config with_terms_after_the_head() {
  Config config = shipped("debug_cpu_mha");
  config.model.logit_softcap = 2, config.train.z_loss = 0.1;
  return config;
}
TEST(CheckCall, KnowsSoftCapAndZLoss) {
  EXPECT_EQ(wrong(with_terms_after_the_head(), cpu_ops<float>()), "");
  const std::vector<void (*)(Ops<float>&)> faults = {
      plant<&O::cross_entropy, [](CrossEntropy<float>& a) { a.softcap = 0; }>,
      plant<&O::cross_entropy, [](CrossEntropy<float>& a) { a.softcap *= 1.01; }>,
      plant<&O::cross_entropy, [](CrossEntropy<float>& a) { a.z_weight *= 1.01; }>,
      plant<&O::cross_entropy, [](const CrossEntropy<float>& a, int) {
        if (a.aux_loss) a.aux_loss[0] *= 1.01f;
      }>};
  for (size_t i = 0; i < faults.size(); ++i) {
    Ops<float> ops = cpu_ops<float>();
    faults[i](ops);
    EXPECT_THAT(wrong(with_terms_after_the_head(), ops, "cross_entropy"), HasSubstr("wanted")) << i;
  }
}

class EveryFault : public testing::TestWithParam<Fault> {};
TEST_P(EveryFault, IsFound) {
  const Fault& fault = GetParam();
  Ops<float> ops = cpu_ops<float>();
  fault.plant(ops);
  const std::string found = wrong(shipped(std::string("debug_cpu_") + fault.config), ops, fault.op);
  EXPECT_THAT(found, HasSubstr(fault.says));
}
INSTANTIATE_TEST_SUITE_P(CheckCall, EveryFault, testing::ValuesIn(kFaults), [](const auto& test) {
  return std::string(test.param.op) + "_" + std::to_string(test.index);
});

TEST(CheckCall, FindsALostTermOfASum) {
  Ops<float> ops = cpu_ops<float>();
  ops.add_sum = [](Stream stream, double* total, Vec<const float> x) {
    cpu_ops<float>().add_sum(stream, total, {x.data + 1, x.size - 1});
  };
  EXPECT_THAT(wrong(shipped("debug_cpu_mha"), ops, "add_sum"), HasSubstr("wanted"));
}

// Every operation of every kind stands in the list above.
TEST(CheckCall, HasAFaultForEveryOperation) {
  std::set<std::string> planted = {"add_sum"};
  for (const Fault& fault : kFaults) planted.insert(fault.op);
  EXPECT_THAT(operation_names(), testing::UnorderedElementsAreArray(planted));
}

}  // namespace
}  // namespace saslm
