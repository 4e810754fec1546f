// The fields of every config struct, said once: JSON key, member, range, help, required or defaulted.
//
// visit_fields(v, c) calls v.field(key, member, rule) for each key of one JSON object. The parser, the list
// of valid keys, the writer and the JSON Schema are four such v. A default is what the member holds before
// the visit. A rule may depend on members visited before it, so that a parser meets them already filled in.
//
// 0 stands for "not given" in the sizes that resolve.cpp computes; their ranges begin at 1.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct Rule {
  const char* help;
  double min = -std::numeric_limits<double>::infinity(), max = std::numeric_limits<double>::infinity();
  bool below_max = false;     // max itself is refused
  bool required = false;      // has no default
  bool required_now = false;  // has none because of what other keys say, to the schema: `kind`
  bool applies = true;        // false: has no place here because of what other keys say
  const char* refusal = "";   // what to tell who gives it all the same
  bool written = true;        // false: follows from keys that are written
};

// JSON words of an enum, in the order of its enumerators.
template <class E>
struct Words;
template <>
struct Words<AttentionKind> {
  static constexpr std::array all{"mha", "mqa", "gqa", "sas", "mla", "tpa", "mhe", "moh"};
};
template <>
struct Words<PositionKind> {
  static constexpr std::array all{"rope", "learned", "none"};
};
template <>
struct Words<NormKind> {
  static constexpr std::array all{"rmsnorm", "layernorm"};
};
template <>
struct Words<MlpKind> {
  static constexpr std::array all{"swiglu", "gelu", "relu2"};
};
template <>
struct Words<SasInit> {
  static constexpr std::array all{"authors", "identity"};
};
template <>
struct Words<MheForm> {
  static constexpr std::array all{"add", "mul"};
};
template <>
struct Words<MohGates> {
  static constexpr std::array all{"paper", "authors"};
};
template <>
struct Words<ScheduleKind> {
  static constexpr std::array all{"constant", "cosine", "linear", "wsd"};
};
template <>
struct Words<OptimKind> {
  static constexpr std::array all{"adamw"};
};
template <>
struct Words<DeviceKind> {
  static constexpr std::array all{"auto", "cpu", "cuda"};
};
template <>
struct Words<Precision> {
  static constexpr std::array all{"auto", "bf16", "fp32"};
};
template <>
struct Words<Recompute> {
  static constexpr std::array all{"none", "sim", "block"};
};
template <>
struct Words<MatmulChoice> {
  static constexpr std::array all{"ranked", "timed"};
};

template <>
struct Words<RankSum> {
  static constexpr std::array all{"fixed", "library"};
};

template <class E>
const char* word_of(E value) {
  return Words<E>::all.at(static_cast<size_t>(value));
}

// Members whose JSON form is a list: they stand for the struct's members while a visitor looks.
struct Betas {  // [beta1, beta2]
  double &beta1, &beta2;
};
struct SimulatedParts {  // a subset of the three words
  static constexpr std::array words{"heads", "features", "values"};
  bool &heads, &features, &values;
  std::array<bool*, 3> flags() const { return {&heads, &features, &values}; }
};

// The JSON block of one kind's own sizes: an alternative of the projection, made when it is read.
template <class P>
struct ProjectionBlock {
  ProjectionConfig& projection;
};

// Upper limits are far above any model that can be trained, and low enough for a 64-bit product of any two;
// resolve.cpp bounds the larger products.
constexpr double kMaxHeads = 1 << 16, kMaxHeadDim = 1 << 12, kMaxWidth = 1 << 20, kMaxLayers = 1 << 12;
constexpr double kMaxSeqLen = 1 << 24, kMaxSequences = 1 << 20, kMaxSteps = 1e9, kMaxInt32 = 2147483647;
constexpr double kTiny = 1e-30;  // the least epsilon: still a normal number in fp32

template <class V>
void visit_fields(V& v, SasConfig& c) {
  v.field("simulate", SimulatedParts{c.heads, c.features, c.values},
          {.help = "parts of the simulation that run; \"values\" needs \"heads\""});
  v.field(
      "n_sim_head", c.n_sim_head,
      {.help = "number of simulated heads, a multiple of n_head; left out when \"heads\" is not simulated",
       .min = 1,
       .max = kMaxHeads,
       .required_now = c.heads});
  v.field("sim_head_dim", c.sim_head_dim,
          {.help = "width of a simulated query and key head; left out when \"features\" is not simulated",
           .min = 1,
           .max = kMaxHeadDim,
           .required_now = c.features});
  v.field("kernel_size", c.kernel_size,
          {.help = "number of convolution taps over a head's features; odd", .min = 1, .max = 63});
  v.field(
      "init", c.init,
      {.help =
           "initial weights of the simulation; authors: as published; identity: simulated heads start as the "
           "real ones plus noise"});
  v.field("init_noise", c.init_noise,
          {.help = "scale of the random part under init identity", .min = 0, .max = 100});
}

template <class V>
void visit_fields(V& v, MohConfig& c) {
  v.field("n_shared_head", c.n_shared_head,
          {.help = "number of heads that every token uses: the first ones",
           .min = 0,
           .max = kMaxHeads,
           .required = true});
  v.field(
      "top_k", c.top_k,
      {.help = "number of the other heads that a token uses", .min = 1, .max = kMaxHeads, .required = true});
  v.field("balance_weight", c.balance_weight,
          {.help = "weight of the load-balance loss in what training minimises", .min = 0, .max = 1000});
  v.field("gates", c.gates,
          {.help = "scale of the gates; paper: a token's gates sum to 1 at most; authors: as their code "
                   "scales them, to 1 where "
                   "scores are equal"});
}

template <class V>
void visit_fields(V& v, WindowConfig& c) {
  v.field("size", c.size,
          {.help = "number of positions that a query sees in a layer S: its own and those right before it",
           .min = 1,
           .max = kMaxSeqLen,
           .required = true});
  v.field("pattern", c.pattern,
          {.help = "a letter a layer, again from the first after the last; S: the window, L: all positions "
                   "before"});
}

template <class V>
void visit_fields(V& v, MlaConfig& c) {
  v.field("q_rank", c.q_rank,
          {.help = "width of the queries' latent", .min = 1, .max = kMaxWidth, .required = true});
  v.field("kv_rank", c.kv_rank,
          {.help = "width of the keys' and values' latent", .min = 1, .max = kMaxWidth, .required = true});
  v.field("nope_dim", c.nope_dim,
          {.help = "number of query and key features per head that are not rotated",
           .min = 1,
           .max = kMaxHeadDim / 2,
           .required = true});
  v.field("rope_dim", c.rope_dim,
          {.help = "number of query and key features per head that are rotated; all heads share the key's",
           .min = 1,
           .max = kMaxHeadDim / 2,
           .required = true});
  v.field("v_dim", c.v_dim,
          {.help = "width of a value head", .min = 1, .max = kMaxHeadDim, .required = true});
}

template <class V>
void visit_fields(V& v, TpaConfig& c) {
  v.field("q_rank", c.q_rank,
          {.help = "number of products in a query", .min = 1, .max = kMaxHeadDim, .required = true});
  v.field("k_rank", c.k_rank,
          {.help = "number of products in a key", .min = 1, .max = kMaxHeadDim, .required = true});
  v.field("v_rank", c.v_rank,
          {.help = "number of products in a value", .min = 1, .max = kMaxHeadDim, .required = true});
}

template <class V>
void visit_fields(V& v, MheConfig& c) {
  v.field("form", c.form,
          {.help = "how a head's embedding e is applied; add: q + e; mul: q (1 + e); likewise to k and v",
           .required = true});
}

template <class V, class First, class... Blocks>
void visit_projection_blocks(V& v, AttentionKind kind, std::variant<First, Blocks...>& projection) {
  (v.field(word_of(Blocks::kKind), ProjectionBlock<Blocks>{projection},
           {.help = Blocks::kHelp,
            .required_now = kind == Blocks::kKind,
            .applies = kind == Blocks::kKind,
            .refusal = "is for the kind of that name only; remove it or set kind to it"}),
   ...);
}

template <class V>
void visit_fields(V& v, AttentionConfig& c) {
  GqaConfig none;
  GqaConfig* const gqa = std::get_if<GqaConfig>(&c.projection);
  v.field(
      "kind", c.kind,
      {.help =
           "attention variant; mha: a key/value head for each query head; mqa: one key/value head; gqa: "
           "n_kv_head of them; sas: mha with simulation; moh: mha with routed heads; mla, tpa, mhe: as the "
           "block of that name says",
       .required = true});
  v.field("n_head", c.n_head,
          {.help = "number of query heads", .min = 1, .max = kMaxHeads, .required = true});
  v.field("head_dim", c.head_dim,
          {.help = "width of a query and key head; n_head * head_dim need not equal d_model; under mla it is "
                   "nope_dim + rope_dim "
                   "and may be left out",
           .min = 1,
           .max = kMaxHeadDim,
           .required_now = c.kind != AttentionKind::mla});
  v.field("n_kv_head", (gqa != nullptr ? *gqa : none).n_kv_head,
          {.help = "number of key/value heads, a divisor of n_head",
           .min = 1,
           .max = kMaxHeads,
           .required_now = c.kind == AttentionKind::gqa,
           .applies = c.kind == AttentionKind::gqa,
           .refusal = "is for kind \"gqa\" only; the other kinds fix it; remove it or set kind to \"gqa\""});
  visit_projection_blocks(v, c.kind, c.projection);
  v.field(
      "position", c.position,
      {.help =
           "how the model knows positions; rope: rotary; learned: a table added to the embedding; none: it "
           "does not"});
  v.field("rope_base", c.rope_base, {.help = "base of the rotary angles", .min = 1, .max = 1e12});
  v.field("sas", c.sas,
          {.help = "simulated attention: a stage between the projection and the core",
           .required_now = c.kind == AttentionKind::sas,
           .applies = c.kind != AttentionKind::mha,
           .refusal = "kind \"mha\" has no simulation; for mha with simulation set kind to \"sas\""});
  v.field("moh", c.moh,
          {.help = "mixture of heads: each token uses some of them; a stage after the core",
           .required_now = c.kind == AttentionKind::moh,
           .applies = c.kind != AttentionKind::mha,
           .refusal = "kind \"mha\" uses all heads; for mha with routed heads set kind to \"moh\""});
  v.field("window", c.window,
          {.help = "sliding windows: how far back a query sees, in which layers; all the way without it"});
}

template <class V>
void visit_fields(V& v, MlpConfig& c) {
  v.field("kind", c.kind,
          {.help = "form of the feed-forward part; swiglu: gated, three matrices; gelu (tanh form) and relu2 "
                   "(squared): two"});
  v.field("hidden", c.hidden,
          {.help = "width of the hidden layer", .min = 1, .max = kMaxWidth, .required = true});
}

template <class V>
void visit_fields(V& v, NormConfig& c) {
  v.field("kind", c.kind,
          {.help = "form of the normalisation; rmsnorm: a weight; layernorm: a weight and a bias"});
  v.field("eps", c.eps, {.help = "number added to the mean square", .min = kTiny, .max = 1});
}

template <class V>
void visit_fields(V& v, ModelConfig& c) {
  v.field("vocab_size", c.vocab_size,
          {.help = "number of different tokens", .min = 2, .max = kMaxInt32, .required = true});
  v.field("n_layer", c.n_layer, {.help = "number of blocks", .min = 1, .max = kMaxLayers, .required = true});
  v.field("d_model", c.d_model,
          {.help = "width of the residual stream", .min = 1, .max = kMaxWidth, .required = true});
  v.field("max_seq_len", c.max_seq_len,
          {.help = "longest sequence in tokens the model can see",
           .min = 1,
           .max = kMaxSeqLen,
           .required = true});
  v.field("attention", c.attention, {.help = "the attention variant", .required = true});
  v.field("mlp", c.mlp, {.help = "the feed-forward part of a block", .required = true});
  v.field("norm", c.norm, {.help = "normalisation before attention, before mlp and at the end"});
  v.field("tie_embeddings", c.tie_embeddings, {.help = "whether the output matrix is the token embedding"});
  v.field("bias", c.bias, {.help = "whether the q, k, v, o and mlp linears have biases"});
}

template <class V>
void visit_fields(V& v, DataConfig& c) {
  v.field("train", c.train,
          {.help = "token shards to train on: a path, a glob pattern, or a list of them",
           .min = 1,
           .required = true});
  v.field("val", c.val, {.help = "token shards to evaluate on; \"\" or [] for none", .min = 0});
  v.field("shuffle", c.shuffle,
          {.help = "whether each epoch reads the samples in a seeded permutation; else in the files' order"});
  v.field("tokenizer", c.tokenizer,
          {.help = "\"bytes\", a tokenizer file, or \"\" for what the shards name themselves"});
}

template <class V>
void visit_fields(V& v, ScheduleConfig& c) {
  v.field("kind", c.kind,
          {.help = "learning rate after the warmup; wsd: constant, then linear decay at the end"});
  v.field("warmup_steps", c.warmup_steps,
          {.help = "number of steps in which the learning rate rises linearly to lr",
           .min = 0,
           .max = kMaxSteps});
  v.field("min_lr_ratio", c.min_lr_ratio,
          {.help = "last learning rate, as a share of lr", .min = 0, .max = 1});
  v.field("decay_fraction", c.decay_fraction,
          {.help = "share of the steps in which the learning rate decays",
           .min = kTiny,
           .max = 1,
           .applies = c.kind == ScheduleKind::wsd,
           .refusal = "is for kind \"wsd\" only; remove it or set kind to \"wsd\""});
}

template <class V>
void visit_fields(V& v, OptimConfig& c) {
  v.field("kind", c.kind, {.help = "the optimizer"});
  v.field("lr", c.lr, {.help = "peak learning rate", .min = 0, .max = 1000});
  v.field("betas", Betas{c.beta1, c.beta2},
          {.help = "decay rates of the first and second moment", .min = 0, .max = 1, .below_max = true});
  v.field("eps", c.eps, {.help = "number added to the root of the second moment", .min = kTiny, .max = 1});
  v.field("weight_decay", c.weight_decay,
          {.help = "decoupled weight decay, of tensors with two or more dimensions", .min = 0, .max = 1000});
  v.field("grad_clip", c.grad_clip, {.help = "largest global gradient norm; 0 = off", .min = 0, .max = 1e30});
  v.field("schedule", c.schedule, {.help = "the learning rate over the steps"});
}

template <class V>
void visit_fields(V& v, TrainConfig& c) {
  v.field("steps", c.steps, {.help = "number of optimizer updates", .min = 1, .max = kMaxSteps});
  v.field("seq_len", c.seq_len,
          {.help = "tokens of a training sequence; default: model.max_seq_len", .min = 1, .max = kMaxSeqLen});
  v.field("micro_batch", c.micro_batch,
          {.help = "sequences per rank and micro-step", .min = 1, .max = kMaxSequences});
  v.field("grad_accum", c.grad_accum,
          {.help = "micro-steps per rank and step",
           .min = 1,
           .max = kMaxSequences,
           .written = c.global_batch <= c.micro_batch * c.grad_accum});
  v.field("global_batch", c.global_batch,
          {.help = "sequences per step, from which grad_accum follows; in place of grad_accum",
           .min = 1,
           .max = kMaxInt32,
           .written = c.global_batch != c.micro_batch * c.grad_accum});
  v.field("seed", c.seed, {.help = "seed of the initial values and of the order of the data", .min = 0});
  v.field("max_bad_steps", c.max_bad_steps,
          {.help = "number of skipped steps in a row that ends the run", .min = 1, .max = kMaxSteps});
  v.field("spike_threshold", c.spike_threshold,
          {.help = "skip a step whose loss lies this many standard deviations above the window; 0 = off",
           .min = 0,
           .max = 1e6});
  v.field("spike_window", c.spike_window,
          {.help = "accepted steps the deviation is taken over", .min = 2, .max = kMaxSequences});
}

template <class V>
void visit_fields(V& v, EvalConfig& c) {
  v.field("every_steps", c.every_steps,
          {.help = "steps between evaluations; 0 = only before the first and after the last step",
           .min = 0,
           .max = kMaxSteps});
  v.field("max_sequences", c.max_sequences,
          {.help = "sequences that an evaluation reads, spread evenly over data.val's sets, shards and "
                   "documents, the same ones in every evaluation and run; 0 = all",
           .min = 0,
           .max = kMaxInt32});
}

template <class V>
void visit_fields(V& v, CheckpointConfig& c) {
  v.field("every_steps", c.every_steps,
          {.help = "steps between checkpoints; 0 = only after the last step", .min = 0, .max = kMaxSteps});
  v.field("keep_last", c.keep_last,
          {.help = "number of newest checkpoints that are kept", .min = 1, .max = kMaxSteps});
  v.field("keep_every", c.keep_every,
          {.help = "checkpoints at multiples of this step are kept for good; 0 = none",
           .min = 0,
           .max = kMaxSteps});
  v.field(
      "background", c.background,
      {.help = "whether training goes on while a checkpoint is written, from a copy in memory of 12 bytes a "
               "parameter"});
}

template <class V>
void visit_fields(V& v, RuntimeConfig& c) {
  v.field("device", c.device, {.help = "where the model runs; auto: on the GPU when there is one"});
  v.field("precision", c.precision,
          {.help = "number format of the model; auto: bf16 on the GPU, fp32 on the CPU"});
  v.field("threads", c.threads,
          {.help = "CPU threads; 0 = OMP_NUM_THREADS or all cores", .min = 0, .max = 1024});
  v.field("peak_tflops", c.peak_tflops,
          {.help = "peak TFLOP/s of one rank's device, that MFU is measured against; 0 = a known GPU's own",
           .min = 0,
           .max = 1e9});
  v.field("recompute", c.recompute,
          {.help = "what backward computes again instead of memory keeping it, to the same bits; sim: the "
                   "simulated q, k, v, where there are any; block: all but the stream between blocks"});
  v.field(
      "matmul", c.matmul,
      {.help = "how the GPU's matrix products are chosen; ranked: by the library, so that every run has the "
               "same bits; timed: the fastest, kept with the run"});
  v.field("comm_timeout_s", c.comm_timeout_s,
          {.help = "seconds without an answer after which a rank is given up", .min = 0.1, .max = 1e6});
  v.field(
      "zero_stage", c.zero_stage,
      {.help =
           "0: every rank keeps the whole optimizer state; 1 (ZeRO-1): each keeps that of its own share of "
           "the weights alone, to the same bits",
       .min = 0,
       .max = 1});
  v.field("gradient_sum", c.gradient_sum,
          {.help = "how gradients are summed over ranks; fixed: in one order, so that their number changes "
                   "no bit; library: as MPI or NCCL "
                   "does it"});
  v.field(
      "selfcheck", c.selfcheck,
      {.help = "whether the kernels of a run are checked before it, at their first use on a GPU; wrong ones "
               "are not used"});
}

template <class V>
void visit_fields(V& v, Config& c) {
  v.field("model", c.model, {.help = "what is trained", .required = true});
  v.field("data", c.data,
          {.help = "token shards; relative paths start at this file's folder", .required = true});
  v.field("optim", c.optim, {.help = "optimizer and learning rate"});
  v.field("train", c.train, {.help = "steps and batches"});
  v.field("eval", c.eval, {.help = "validation during the run"});
  v.field("checkpoint", c.checkpoint, {.help = "when to save, what to keep"});
  v.field("runtime", c.runtime, {.help = "where and how to compute"});
}

// The keys of one JSON object.
struct KeyList {
  std::vector<std::string> keys;
  template <class T>
  void field(const char* key, T&&, const Rule&) {
    keys.emplace_back(key);
  }
};

// A struct with fields of its own: one JSON object.
template <class T>
concept Block = requires(KeyList& v, T& c) {
  visit_fields(v, c);
};

}  // namespace saslm
