// The one table of config keys: JSON key, member, range, help, whether it is required, and what a change of
// it means for a resumed run and between ranks.
//
// visit_fields(v, c) calls v.field(key, member, rule) for each key of one JSON object. The parser, the list
// of valid keys, the writer, the JSON Schema and the policies (policy.cpp) are five such v. The default is
// the member's value before the visit. A rule may depend on members visited before it: a parser has already
// filled those in.
//
// 0 means "not given" for the sizes that resolve.cpp computes; their ranges start at 1.
#pragma once
#include <array>
#include <concepts>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/rule.h"
#include "config/words.h"

namespace saslm {

// Members whose JSON form is a list. They refer to the struct's members during a visit.
struct Betas {  // [beta1, beta2]
  double &beta1, &beta2;
};
struct SimulatedParts {  // a subset of the three words
  static constexpr std::array words{"heads", "features", "values"};
  bool &heads, &features, &values;
  std::array<bool*, 3> flags() const { return {&heads, &features, &values}; }
};

// The JSON block of one kind's sizes: an alternative of the projection, created when the block is read.
template <class P>
struct ProjectionBlock {
  ProjectionConfig& projection;
};

// Upper limits lie far above any trainable model, yet the product of any two fits 64 bits; resolve.cpp bounds
// the larger products.
constexpr double kMaxHeads = 1 << 16, kMaxHeadDim = 1 << 12, kMaxWidth = 1 << 20, kMaxLayers = 1 << 12;
constexpr double kMaxSeqLen = 1 << 24, kMaxSequences = 1 << 20, kMaxSteps = 1e9, kMaxInt32 = 2147483647;
constexpr double kTiny = 1e-30;  // the smallest epsilon; still a normal fp32 number

template <class V>
void visit_fields(V& v, SasConfig& c) {
  v.field("simulate", SimulatedParts{c.heads, c.features, c.values},
          {.help = "which stages of the simulation run; \"values\" requires \"heads\""});
  v.field("n_sim_head", c.n_sim_head,
          {.help = "number of simulated heads, a multiple of n_head; omit it if \"heads\" is not simulated",
           .min = 1,
           .max = kMaxHeads,
           .required_now = c.heads});
  v.field("sim_head_dim", c.sim_head_dim,
          {.help = "width of a simulated query and key head; omit it if \"features\" is not simulated",
           .min = 1,
           .max = kMaxHeadDim,
           .required_now = c.features});
  v.field("kernel_size", c.kernel_size,
          {.help = "size of the convolution over a head's features; odd", .min = 1, .max = 63});
  v.field("init", c.init,
          {.help = "initialisation of the simulation; authors: as published; identity: simulated heads start "
                   "as the real heads plus noise"});
  v.field("init_noise", c.init_noise,
          {.help = "scale of the noise under init identity", .min = 0, .max = 100});
}

template <class V>
void visit_fields(V& v, MohConfig& c) {
  v.field("n_shared_head", c.n_shared_head,
          {.help = "number of heads that every token uses; they are the first ones",
           .min = 0,
           .max = kMaxHeads,
           .required = true});
  v.field("top_k", c.top_k,
          {.help = "number of other heads that each token is routed to",
           .min = 1,
           .max = kMaxHeads,
           .required = true});
  v.field("balance_weight", c.balance_weight,
          {.help = "weight of the load-balancing loss in the training loss", .min = 0, .max = 1000});
  v.field("gates", c.gates,
          {.help = "scale of the gates; paper: a token's gates sum to at most 1; authors: as in their code, "
                   "where equal scores give gates of 1"});
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
          {.help = "rank of the queries: number of factor products averaged",
           .min = 1,
           .max = kMaxHeadDim,
           .required = true});
  v.field("k_rank", c.k_rank,
          {.help = "rank of the keys: number of factor products averaged",
           .min = 1,
           .max = kMaxHeadDim,
           .required = true});
  v.field("v_rank", c.v_rank,
          {.help = "rank of the values: number of factor products averaged",
           .min = 1,
           .max = kMaxHeadDim,
           .required = true});
}

template <class V>
void visit_fields(V& v, MheConfig& c) {
  v.field("form", c.form,
          {.help = "how a head's embedding e is applied; add: q + e; mul: q (1 + e); k and v likewise",
           .required = true});
}

template <class V, class First, class... Blocks>
void visit_projection_blocks(V& v, AttentionKind kind, std::variant<First, Blocks...>& projection) {
  (v.field(word_of(Blocks::kKind), ProjectionBlock<Blocks>{projection},
           {.help = Blocks::kHelp,
            .required_now = kind == Blocks::kKind,
            .applies = kind == Blocks::kKind,
            .refusal = "belongs to the kind of the same name; remove it or set kind to that name"}),
   ...);
}

template <class V>
void visit_fields(V& v, AttentionConfig& c) {
  GqaConfig none;
  GqaConfig* const gqa = std::get_if<GqaConfig>(&c.projection);
  v.field("kind", c.kind,
          {.help = "attention variant; mha: a key/value head for each query head; mqa: one key/value head; "
                   "gqa: n_kv_head key/value heads; sas: mha with simulation; moh: mha with routed heads; "
                   "mla, tpa, mhe: see the block of that name",
           .required = true});
  v.field("n_head", c.n_head,
          {.help = "number of query heads", .min = 1, .max = kMaxHeads, .required = true});
  v.field("head_dim", c.head_dim,
          {.help = "width of a query and key head; n_head * head_dim need not equal d_model; may be omitted "
                   "under mla, where it is nope_dim + rope_dim",
           .min = 1,
           .max = kMaxHeadDim,
           .required_now = c.kind != AttentionKind::mla});
  v.field(
      "n_kv_head", (gqa != nullptr ? *gqa : none).n_kv_head,
      {.help = "number of key/value heads, a divisor of n_head",
       .min = 1,
       .max = kMaxHeads,
       .required_now = c.kind == AttentionKind::gqa,
       .applies = c.kind == AttentionKind::gqa,
       .refusal = "belongs to kind \"gqa\"; other kinds fix the number; remove it or set kind to \"gqa\""});
  visit_projection_blocks(v, c.kind, c.projection);
  v.field("position", c.position,
          {.help = "position encoding; rope: rotary; learned: a table added to the embedding; none"});
  v.field("rope_base", c.rope_base, {.help = "base of the rotary angles", .min = 1, .max = 1e12});
  v.field("sas", c.sas,
          {.help = "simulated attention: a stage between the projection and the core",
           .required_now = c.kind == AttentionKind::sas,
           .applies = c.kind != AttentionKind::mha,
           .refusal = "kind \"mha\" has no simulation; for mha with simulation set kind to \"sas\""});
  v.field("moh", c.moh,
          {.help = "mixture of heads: a router picks each token's heads; a stage after the core",
           .required_now = c.kind == AttentionKind::moh,
           .applies = c.kind != AttentionKind::mha,
           .refusal = "kind \"mha\" uses all heads; for mha with routed heads set kind to \"moh\""});
  v.field("window", c.window,
          {.help = "sliding windows: how far back a query sees, in which layers; all the way without it"});
}

template <class V>
void visit_fields(V& v, MlpConfig& c) {
  v.field("kind", c.kind,
          {.help = "feed-forward activation; swiglu: gated, three matrices; gelu (tanh approximation) and "
                   "relu2 (squared ReLU): two matrices"});
  v.field("hidden", c.hidden,
          {.help = "width of the hidden layer", .min = 1, .max = kMaxWidth, .required = true});
}

template <class V>
void visit_fields(V& v, NormConfig& c) {
  v.field("kind", c.kind, {.help = "normalisation; rmsnorm: a weight; layernorm: a weight and a bias"});
  v.field("eps", c.eps, {.help = "constant added to the mean square", .min = kTiny, .max = 1});
}

template <class V>
void visit_fields(V& v, ModelConfig& c) {
  v.field("vocab_size", c.vocab_size,
          {.help = "number of distinct token ids", .min = 2, .max = kMaxInt32, .required = true});
  v.field("n_layer", c.n_layer,
          {.help = "number of Transformer blocks", .min = 1, .max = kMaxLayers, .required = true});
  v.field("d_model", c.d_model,
          {.help = "width of the residual stream", .min = 1, .max = kMaxWidth, .required = true});
  v.field("max_seq_len", c.max_seq_len,
          {.help = "longest sequence the model accepts, in tokens",
           .min = 1,
           .max = kMaxSeqLen,
           .required = true});
  v.field("attention", c.attention, {.help = "the attention variant", .required = true});
  v.field("mlp", c.mlp, {.help = "the feed-forward part of each block", .required = true});
  v.field("norm", c.norm, {.help = "normalisation before attention, before the mlp and before the head"});
  v.field("tie_embeddings", c.tie_embeddings,
          {.help = "whether the output head shares the token embedding's weights"});
  v.field("bias", c.bias, {.help = "whether the q, k, v, o and mlp layers have biases"});
  v.field(
      "logit_softcap", c.logit_softcap,
      {.help = "soft cap c of the logits, which become c tanh(logit / c), in training and use alike; 0 = off",
       .min = 0,
       .max = 1e6,
       .written = c.logit_softcap != 0});
}

template <class V>
void visit_fields(V& v, DataConfig& c) {
  v.field("train", c.train,
          {.help = "training token shards: a path, a glob pattern, or a list of them; a resumed run "
                   "needs the same tokens",
           .min = 1,
           .required = true});
  v.field("val", c.val, {.help = "validation token shards, likewise; \"\" or [] for none", .min = 0});
  v.field("shuffle", c.shuffle,
          {.help = "whether each epoch visits the samples in a seeded random order; otherwise in file order",
           .on_resume = OnResume::same,
           .across_ranks = AcrossRanks::same});
  v.field("tokenizer", c.tokenizer,
          {.help = "\"bytes\", a tokenizer file, or \"\" for the tokenizer that the shards name"});
}

template <class V>
void visit_fields(V& v, ScheduleConfig& c) {
  v.field("kind", c.kind,
          {.help = "learning rate after the warmup; wsd: constant, then a linear decay at the end"});
  v.field("warmup_steps", c.warmup_steps,
          {.help = "steps over which the learning rate rises linearly to lr", .min = 0, .max = kMaxSteps});
  v.field("min_lr_ratio", c.min_lr_ratio,
          {.help = "final learning rate, as a fraction of lr", .min = 0, .max = 1});
  v.field("decay_fraction", c.decay_fraction,
          {.help = "fraction of the steps in which the learning rate decays",
           .min = kTiny,
           .max = 1,
           .applies = c.kind == ScheduleKind::wsd,
           .refusal = "belongs to kind \"wsd\"; remove it or set kind to \"wsd\""});
}

template <class V>
void visit_fields(V& v, OptimConfig& c) {
  v.field("kind", c.kind, {.help = "the optimizer", .on_resume = OnResume::same});
  v.field("lr", c.lr, {.help = "peak learning rate", .min = 0, .max = 1000});
  v.field("betas", Betas{c.beta1, c.beta2},
          {.help = "decay rates of the first and second moment", .min = 0, .max = 1, .below_max = true});
  v.field("eps", c.eps,
          {.help = "constant added to the square root of the second moment", .min = kTiny, .max = 1});
  v.field("weight_decay", c.weight_decay,
          {.help = "decoupled weight decay; applies to tensors with two or more dimensions",
           .min = 0,
           .max = 1000});
  v.field("grad_clip", c.grad_clip,
          {.help = "maximum global gradient norm; 0 = no clipping", .min = 0, .max = 1e30});
  v.field("schedule", c.schedule, {.help = "learning-rate schedule"});
}

template <class V>
void visit_fields(V& v, TrainConfig& c) {
  v.field("steps", c.steps, {.help = "number of optimizer updates", .min = 1, .max = kMaxSteps});
  v.field("seq_len", c.seq_len,
          {.help = "tokens per training sequence; default: model.max_seq_len",
           .min = 1,
           .max = kMaxSeqLen,
           .on_resume = OnResume::same});
  v.field("micro_batch", c.micro_batch,
          {.help = "sequences per rank and micro-batch", .min = 1, .max = kMaxSequences});
  v.field("grad_accum", c.grad_accum,
          {.help = "gradient accumulation: micro-batches per rank and step",
           .min = 1,
           .max = kMaxSequences,
           .written = c.global_batch <= c.micro_batch * c.grad_accum,
           .on_resume = OnResume::free});
  v.field("global_batch", c.global_batch,
          {.help = "sequences per step over all ranks; give it instead of grad_accum, which then follows",
           .min = 1,
           .max = kMaxInt32,
           .written = c.global_batch != c.micro_batch * c.grad_accum,
           .on_resume = OnResume::free});
  v.field(
      "seed", c.seed,
      {.help = "seed of the initial weights and of the data order", .min = 0, .on_resume = OnResume::same});
  v.field(
      "z_loss", c.z_loss,
      {.help = "weight of the z-loss, the mean of (log sum of e^logits)^2, in the training loss; reported "
               "as aux_loss; 0 = off",
       .min = 0,
       .max = 1000,
       .written = c.z_loss != 0});
  v.field("max_bad_steps", c.max_bad_steps,
          {.help = "consecutive skipped steps after which the run ends (exit code 3)",
           .min = 1,
           .max = kMaxSteps});
  v.field("spike_threshold", c.spike_threshold,
          {.help = "skip a step whose loss is this many standard deviations above the mean of spike_window "
                   "steps; 0 = off",
           .min = 0,
           .max = 1e6});
  v.field("spike_window", c.spike_window,
          {.help = "number of recent accepted steps that spike_threshold looks at",
           .min = 2,
           .max = kMaxSequences});
}

template <class V>
void visit_fields(V& v, EvalConfig& c) {
  v.field("every_steps", c.every_steps,
          {.help = "steps between evaluations; 0 = only before the first step and after the last",
           .min = 0,
           .max = kMaxSteps});
  v.field("max_sequences", c.max_sequences,
          {.help = "sequences per evaluation, spread evenly over data.val; the same ones in every evaluation "
                   "and run; 0 = all",
           .min = 0,
           .max = kMaxInt32});
}

template <class V>
void visit_fields(V& v, CheckpointConfig& c) {
  v.field("every_steps", c.every_steps,
          {.help = "steps between checkpoints; 0 = only after the last step", .min = 0, .max = kMaxSteps});
  v.field("keep_last", c.keep_last,
          {.help = "number of newest checkpoints to keep", .min = 1, .max = kMaxSteps});
  v.field("keep_every", c.keep_every,
          {.help = "checkpoints at multiples of this step are kept forever; 0 = none",
           .min = 0,
           .max = kMaxSteps});
  v.field("background", c.background,
          {.help = "whether training continues while a checkpoint is written, from a copy in memory of 12 "
                   "bytes per parameter"});
}

template <class V>
void visit_fields(V& v, RuntimeConfig& c) {
  v.field("device", c.device, {.help = "where the model runs; auto: a GPU if there is one, else the CPU"});
  v.field("precision", c.precision,
          {.help = "number format of the model; auto: bf16 on the GPU, fp32 on the CPU"});
  v.field("threads", c.threads,
          {.help = "CPU threads; 0 = OMP_NUM_THREADS or all cores", .min = 0, .max = 1024});
  v.field("peak_tflops", c.peak_tflops,
          {.help = "peak TFLOP/s of one rank's device, for MFU; 0 = looked up by the GPU's name",
           .min = 0,
           .max = 1e9});
  v.field(
      "recompute", c.recompute,
      {.help =
           "activation recomputation in the backward pass; results are bit-identical; sim: the simulated q, "
           "k and v (no effect without SAS); block: everything but the residual stream between blocks"});
  v.field(
      "matmul", c.matmul,
      {.help = "how a GPU's matrix multiplication algorithms are chosen; ranked: the library's first choice, "
               "bit-identical in every run; timed: the fastest when first timed, then kept with the run",
       .on_resume = OnResume::reported,
       .across_ranks = AcrossRanks::same});
  v.field("comm_timeout_s", c.comm_timeout_s,
          {.help = "seconds without an answer after which a rank counts as lost and the run ends",
           .min = 0.1,
           .max = 1e6});
  v.field("zero_stage", c.zero_stage,
          {.help = "0: every rank keeps the whole optimizer state; 1 (ZeRO-1): each rank keeps one shard of "
                   "it; results are bit-identical",
           .min = 0,
           .max = 1,
           .across_ranks = AcrossRanks::same});
  v.field("gradient_sum", c.gradient_sum,
          {.help = "order of the gradient all-reduce; fixed: bit-identical for any number of ranks; library: "
                   "as MPI or NCCL does it",
           .on_resume = OnResume::reported,
           .across_ranks = AcrossRanks::same});
  v.field(
      "selfcheck", c.selfcheck,
      {.help =
           "whether a run on a GPU first checks its kernels against the CPU; wrong kernels are not used"});
}

template <class V>
void visit_fields(V& v, Config& c) {
  v.field("model", c.model, {.help = "the model to train", .required = true});
  v.field("data", c.data,
          {.help = "token shards; relative paths start at the config's folder",
           .required = true,
           .on_resume = OnResume::free,
           .across_ranks = AcrossRanks::free});
  v.field("optim", c.optim, {.help = "optimizer and learning rate", .on_resume = OnResume::reported});
  v.field("train", c.train, {.help = "steps and batches", .on_resume = OnResume::reported});
  v.field("eval", c.eval, {.help = "evaluation during the run", .on_resume = OnResume::free});
  v.field("checkpoint", c.checkpoint, {.help = "when to save and what to keep", .on_resume = OnResume::free});
  v.field(
      "runtime", c.runtime,
      {.help = "where and how to compute", .on_resume = OnResume::free, .across_ranks = AcrossRanks::free});
}

// The keys of one JSON object.
struct KeyList {
  std::vector<std::string> keys;
  template <class T>
  void field(const char* key, T&&, const Rule&) {
    keys.emplace_back(key);
  }
};

// A struct with fields of its own, which is one JSON object.
template <class T>
concept JsonObject = requires(KeyList& v, T& c) {
  visit_fields(v, c);
};

}  // namespace saslm
