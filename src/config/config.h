// The configuration of a run, resolved: defaults filled in, derived sizes computed, paths absolute.
//
// One JSON file describes a run. Reading is strict: an unknown key, a wrong type or an impossible value is a
// ConfigError that names the path (model.attention.n_head), what was wanted, what was given and the nearest
// key. What each key means, its range and its policies stand in fields.h; comments here add only what a
// resolved value means to the code.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace saslm {

enum class AttentionKind { mha, mqa, gqa, sas, mla, tpa, mhe, moh };
enum class PositionKind { rope, learned, none };
enum class NormKind { rmsnorm, layernorm };
enum class MlpKind { swiglu, gelu, relu2 };
enum class SasInit { authors, identity };
enum class MheForm { add, mul };
enum class MohGates { paper, authors };
enum class ScheduleKind { constant, cosine, linear, wsd };
enum class OptimKind { adamw };
enum class DeviceKind { automatic, cpu, cuda };
enum class Precision { automatic, bf16, fp32 };
enum class Recompute { none, sim, block };
enum class MatmulChoice { ranked, timed };
enum class RankSum { fixed, library };

// Simulated attention (arXiv 2507.07694): a stage between projection and attention core.
struct SasConfig {
  int64_t n_sim_head = 0;    // Hs; n_head when heads are not simulated
  int64_t sim_head_dim = 0;  // Ds; head_dim when features are not simulated
  int64_t kernel_size = 5;
  bool heads = true;     // convolution H -> Hs
  bool features = true;  // linear D -> Ds for q and k
  bool values = true;    // v passes the convolution too; else simulated head h reads v head h mod H
  SasInit init = SasInit::authors;
  double init_noise = 1.0;
  bool operator==(const SasConfig&) const = default;
};

// Mixture of heads (arXiv 2410.11842): a stage between attention core and output projection.
struct MohConfig {
  int64_t n_shared_head = 0;
  int64_t top_k = 0;
  double balance_weight = 0.01;
  MohGates gates = MohGates::authors;
  bool operator==(const MohConfig&) const = default;
};

// A mask beside causality, per layer: a query sees the last `size` positions, its own among them.
struct WindowConfig {
  int64_t size = 0;           // W
  std::string pattern = "S";  // layer i takes letter i mod length; S: the window, L: all positions before it
  bool operator==(const WindowConfig&) const = default;
};

// Projections: one alternative per way to make q, k and v. With d_model d, n_head H and head_dim D, each
// gives upper bounds for one layer: weights() of its attention linears, values() stored per token. They are
// doubles, which cannot overflow. rotated_width(D): features of a query and key head that rope rotates, which
// the key kRotated sets.

// The projection of mha, mqa, gqa, sas and moh.
struct GqaConfig {
  static constexpr const char* kRotated = "head_dim";
  int64_t n_kv_head = 0;  // G: n_head (mha, sas, moh), 1 (mqa), given (gqa); divides n_head
  static int64_t rotated_width(int64_t D) { return D; }
  static double weights(double d, double H, double D) { return 4 * d * H * D; }
  static double values(double H, double D) { return 8 * H * D; }
  bool operator==(const GqaConfig&) const = default;
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): q from one latent, k and v from another.
struct MlaConfig {
  static constexpr AttentionKind kKind = AttentionKind::mla;
  static constexpr const char* kHelp = "the sizes of latent attention";
  static constexpr const char* kRotated = "mla.rope_dim";
  int64_t q_rank = 0, kv_rank = 0;
  int64_t nope_dim = 0, rope_dim = 0;  // sum: head_dim
  int64_t v_dim = 0;
  int64_t rotated_width(int64_t) const { return rope_dim; }
  double weights(double d, double H, double D) const {
    return double(q_rank) * (d + H * D) + double(kv_rank) * (d + H * double(nope_dim + v_dim)) +
           d * (double(rope_dim) + H * double(v_dim));
  }
  double values(double H, double D) const {
    return 4 * double(q_rank + kv_rank) + 4 * H * (D + double(v_dim));
  }
  bool operator==(const MlaConfig&) const = default;
};

// Tensor-product attention (arXiv 2501.06425): q, k and v are means of products of two factors.
struct TpaConfig {
  static constexpr AttentionKind kKind = AttentionKind::tpa;
  static constexpr const char* kHelp = "the ranks of tensor-product attention";
  static constexpr const char* kRotated = "head_dim";
  int64_t q_rank = 0, k_rank = 0, v_rank = 0;
  static int64_t rotated_width(int64_t D) { return D; }
  double factors(double H, double D) const { return double(q_rank + k_rank + v_rank) * (H + D); }
  double weights(double d, double H, double D) const { return d * (factors(H, D) + H * D); }
  double values(double H, double D) const { return 2 * factors(H, D) + 8 * H * D; }
  bool operator==(const TpaConfig&) const = default;
};

// Multiple-head embeddings (arXiv 2310.07911): all heads share one q, k and v projection; an embedding per
// head tells them apart.
struct MheConfig {
  static constexpr AttentionKind kKind = AttentionKind::mhe;
  static constexpr const char* kHelp = "how head embeddings turn one head into many";
  static constexpr const char* kRotated = "head_dim";
  MheForm form = MheForm::add;
  static int64_t rotated_width(int64_t D) { return D; }
  static double weights(double d, double H, double D) { return 3 * D * (d + H) + d * H * D; }
  static double values(double H, double D) { return 6 * D + 8 * H * D; }
  bool operator==(const MheConfig&) const = default;
};

// Every alternative but the first is the JSON block of one kind, its kKind.
using ProjectionConfig = std::variant<GqaConfig, MlaConfig, TpaConfig, MheConfig>;

struct AttentionConfig {
  AttentionKind kind = AttentionKind::mha;
  int64_t n_head = 0;    // H
  int64_t head_dim = 0;  // D, of q and k
  PositionKind position = PositionKind::rope;
  double rope_base = 10000;
  ProjectionConfig projection;
  std::optional<SasConfig> sas;
  std::optional<MohConfig> moh;
  std::optional<WindowConfig> window;

  std::optional<int64_t> window_of(int64_t layer) const;  // none: the layer sees all positions before
  int64_t rotated_width() const;  // features per head that rope rotates; of a simulated head under SAS
  bool operator==(const AttentionConfig&) const = default;
};

struct MlpConfig {
  MlpKind kind = MlpKind::swiglu;
  int64_t hidden = 0;  // F
  bool operator==(const MlpConfig&) const = default;
};

struct NormConfig {
  NormKind kind = NormKind::rmsnorm;
  double eps = 1e-5;
  bool operator==(const NormConfig&) const = default;
};

struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t n_layer = 0;
  int64_t d_model = 0;
  int64_t max_seq_len = 0;
  AttentionConfig attention;
  MlpConfig mlp;
  NormConfig norm;
  bool tie_embeddings = true;
  bool bias = false;
  double logit_softcap = 0;  // c of c tanh(logit / c); 0: none
  bool operator==(const ModelConfig&) const = default;
};

struct DataConfig {
  std::vector<std::string> train, val;  // absolute paths or glob patterns
  bool shuffle = true;
  std::string tokenizer;  // "bytes", an absolute path, or ""
  bool operator==(const DataConfig&) const = default;
};

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0.1;
  double decay_fraction = 0.2;  // of the steps, rounded to whole steps
  bool operator==(const ScheduleConfig&) const = default;
};

struct OptimConfig {
  OptimKind kind = OptimKind::adamw;
  double lr = 6e-4;
  double beta1 = 0.9, beta2 = 0.95;  // "betas": [beta1, beta2]
  double eps = 1e-8;
  double weight_decay = 0.1;
  double grad_clip = 1.0;
  ScheduleConfig schedule;
  bool operator==(const OptimConfig&) const = default;
};

struct TrainConfig {
  int64_t steps = 1000;
  int64_t seq_len = 0;  // T
  int64_t micro_batch = 8;
  int64_t grad_accum = 1;
  int64_t global_batch = 0;  // micro_batch * grad_accum * ranks
  int64_t ranks = 1;         // not a key: the launcher decides
  uint64_t seed = 1;
  double z_loss = 0;          // weight of the mean of (log sum e^logits)^2 in what is minimised
  int64_t max_bad_steps = 5;  // then exit status 3
  double spike_threshold = 0;
  int64_t spike_window = 128;
  bool operator==(const TrainConfig&) const = default;
};

struct EvalConfig {
  int64_t every_steps = 250;
  // Chosen as in data/eval_sample.h. The default resolves a difference of two variants to about 0.003 nats
  // (docs/experiments.md).
  int64_t max_sequences = 512;
  bool operator==(const EvalConfig&) const = default;
};

struct CheckpointConfig {
  int64_t every_steps = 1000;
  int64_t keep_last = 2;
  int64_t keep_every = 0;
  bool background = true;
  bool operator==(const CheckpointConfig&) const = default;
};

struct RuntimeConfig {
  DeviceKind device = DeviceKind::automatic;
  Precision precision = Precision::automatic;
  int64_t threads = 0;     // results do not depend on it
  double peak_tflops = 0;  // known GPUs: train/gpu_peak.h
  Recompute recompute = Recompute::none;
  MatmulChoice matmul = MatmulChoice::ranked;
  double comm_timeout_s = 600;
  int64_t zero_stage = 0;
  RankSum gradient_sum = RankSum::fixed;
  bool selfcheck = true;
  bool operator==(const RuntimeConfig&) const = default;
};

struct Config {
  ModelConfig model;
  DataConfig data;
  OptimConfig optim;
  TrainConfig train;
  EvalConfig eval;
  CheckpointConfig checkpoint;
  RuntimeConfig runtime;
  bool operator==(const Config&) const = default;
};

// Reads one file, applies the overrides ("a.b=c"; c is JSON, or else a plain string), checks and resolves.
// Relative data paths start at the folder of `path`. `ranks`: the number of processes that share a step.
// Throws ConfigError, also when the file cannot be read.
Config load_config(const std::string& path, const std::vector<std::string>& overrides = {},
                   int64_t ranks = 1);

// Checks and resolves an object that is already read. `path` gives the folder for relative data paths; error
// messages do not contain it.
Config config_of(const nlohmann::json& root, const std::string& path, int64_t ranks = 1);

// Reads only the "model" block, all that eval, generate and --init-from need of a checkpoint's config.json.
// Other top-level blocks are ignored.
ModelConfig load_model_config(const std::string& path);

// Resolved, indented JSON with a final newline; load_config reads it back.
std::string to_json(const Config& config);
std::string to_json(const ModelConfig& config);  // the value of "model" alone
std::string config_schema();                     // JSON Schema (draft 2020-12) of the whole file

// The JSON word of an enumerator, for messages and tables.
const char* name_of(AttentionKind kind);
const char* name_of(PositionKind kind);
const char* name_of(NormKind kind);
const char* name_of(MlpKind kind);
const char* name_of(ScheduleKind kind);
const char* name_of(Recompute recompute);

}  // namespace saslm
