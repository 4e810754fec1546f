// One JSON file describes a run. Strict: an unknown key, a wrong type or an impossible value is a
// ConfigError naming the path (model.attention.n_head), what was wanted, what came, and the nearest key.
//
// These structs hold a *resolved* configuration: defaults filled in, derived sizes computed, paths absolute.
// The fields' JSON names, defaults, ranges and help live in one visitor each (config.cpp), which the parser,
// the writer and the JSON Schema all read.
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
  int64_t n_sim_head = 0;    // Hs, a multiple of n_head; = n_head when heads are not simulated
  int64_t sim_head_dim = 0;  // Ds, query/key width after simulation; = head_dim when features are not
  int64_t kernel_size = 5;   // convolution taps, odd
  bool heads = true;         // conv stage H -> Hs           "simulate": ["heads", "features", "values"]
  bool features = true;      // linear stage D -> Ds for q and k
  bool values = true;        // v goes through the conv stage too; else simulated head h reads v head h mod H
  SasInit init = SasInit::authors;
  double init_noise = 1.0;  // scale of the random part under "identity"
  bool operator==(const SasConfig&) const = default;
};

// Mixture of heads (arXiv 2410.11842): a stage between attention core and output projection.
struct MohConfig {
  int64_t n_shared_head = 0;  // the first heads, which every token uses
  int64_t top_k = 0;          // of the others, how many a token uses
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

// Projections, one alternative per way to make q, k, v. Each bounds its sizes by d_model d, n_head H and
// head_dim D, in double, which cannot overflow: weights() of a layer's attention linears, values() that a
// token leaves behind in it.

// mha, mqa, gqa, sas and moh share this one.
struct GqaConfig {
  int64_t n_kv_head = 0;  // G: n_head (mha, sas, moh), 1 (mqa), given (gqa); divides n_head
  static double weights(double d, double H, double D) { return 4 * d * H * D; }
  static double values(double H, double D) { return 8 * H * D; }
  bool operator==(const GqaConfig&) const = default;
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): q from one latent, k and v from another.
struct MlaConfig {
  static constexpr AttentionKind kKind = AttentionKind::mla;
  static constexpr const char* kHelp = "the sizes of latent attention";
  int64_t q_rank = 0, kv_rank = 0;  // widths of the latents
  int64_t nope_dim = 0;             // features of a query/key head that are never rotated
  int64_t rope_dim = 0;             // those that are; of a key they are shared by all heads. Sum: head_dim
  int64_t v_dim = 0;                // width of a value head
  double weights(double d, double H, double D) const {
    return double(q_rank) * (d + H * D) + double(kv_rank) * (d + H * double(nope_dim + v_dim)) +
           d * (double(rope_dim) + H * double(v_dim));
  }
  double values(double H, double D) const {
    return 4 * double(q_rank + kv_rank) + 4 * H * (D + double(v_dim));
  }
  bool operator==(const MlaConfig&) const = default;
};

// Tensor-product attention (arXiv 2501.06425): q, k and v as means of products of two factors.
struct TpaConfig {
  static constexpr AttentionKind kKind = AttentionKind::tpa;
  static constexpr const char* kHelp = "the ranks of tensor-product attention";
  int64_t q_rank = 0, k_rank = 0, v_rank = 0;
  double factors(double H, double D) const { return double(q_rank + k_rank + v_rank) * (H + D); }
  double weights(double d, double H, double D) const { return d * (factors(H, D) + H * D); }
  double values(double H, double D) const { return 2 * factors(H, D) + 8 * H * D; }
  bool operator==(const TpaConfig&) const = default;
};

// Multiple-head embeddings (arXiv 2310.07911): one projection each of q, k and v, told apart by an embedding
// per head.
struct MheConfig {
  static constexpr AttentionKind kKind = AttentionKind::mhe;
  static constexpr const char* kHelp = "how head embeddings make heads of one";
  MheForm form = MheForm::add;
  static double weights(double d, double H, double D) { return 3 * D * (d + H) + d * H * D; }
  static double values(double H, double D) { return 6 * D + 8 * H * D; }
  bool operator==(const MheConfig&) const = default;
};

// After the first, each is the JSON block of the kind it names, and of no other kind: kKind.
using ProjectionConfig = std::variant<GqaConfig, MlaConfig, TpaConfig, MheConfig>;

struct AttentionConfig {
  AttentionKind kind = AttentionKind::mha;
  int64_t n_head = 0;    // H
  int64_t head_dim = 0;  // D of q and k; n_head * head_dim need not equal d_model
  PositionKind position = PositionKind::rope;
  double rope_base = 10000;
  ProjectionConfig projection;
  std::optional<SasConfig> sas;  // present for kind sas, absent for mha, optional under every other kind
  std::optional<MohConfig> moh;  // likewise for kind moh
  std::optional<WindowConfig> window;

  std::optional<int64_t> window_of(int64_t layer) const;  // none: the layer sees all positions before
  int64_t rotated_width() const;  // features of a head that rope turns: of a simulated head under SAS
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
  bool bias = false;  // q/k/v/o and mlp linears
  bool operator==(const ModelConfig&) const = default;
};

struct DataConfig {
  std::vector<std::string> train;  // paths or glob patterns, absolute; one string in JSON is a list of one
  std::vector<std::string> val;    // likewise; empty: no evaluation
  bool shuffle = true;
  std::string tokenizer;  // "bytes", a tokenizer file (absolute), or "" = what the shards' own .json says
  bool operator==(const DataConfig&) const = default;
};

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0.1;
  double decay_fraction = 0.2;  // wsd: the last round(decay_fraction * steps) steps
  bool operator==(const ScheduleConfig&) const = default;
};

struct OptimConfig {
  OptimKind kind = OptimKind::adamw;
  double lr = 6e-4;
  double beta1 = 0.9, beta2 = 0.95;  // "betas": [beta1, beta2]
  double eps = 1e-8;
  double weight_decay = 0.1;
  double grad_clip = 1.0;  // global norm; 0 = off
  ScheduleConfig schedule;
  bool operator==(const OptimConfig&) const = default;
};

struct TrainConfig {
  int64_t steps = 1000;
  int64_t seq_len = 0;       // T; default model.max_seq_len
  int64_t micro_batch = 8;   // sequences per rank and micro-step
  int64_t grad_accum = 1;    // micro-steps per rank and step; follows from global_batch when that is given
  int64_t global_batch = 0;  // sequences per step; resolved to micro_batch * grad_accum * ranks
  int64_t ranks = 1;         // processes that share a step's work; not in the file: the launcher decides
  uint64_t seed = 1;
  int64_t max_bad_steps = 5;  // this many skipped steps in a row end the run (exit 3)
  // Skip a step whose loss lies this many standard deviations above the window; 0 = off.
  double spike_threshold = 0;
  int64_t spike_window = 128;  // accepted steps the deviation is taken over
  bool operator==(const TrainConfig&) const = default;
};

struct EvalConfig {
  int64_t every_steps = 250;  // 0 = only before the first and after the last step
  // A fixed part, spread evenly (data/eval_sample.h); 0 = all. The default gives the difference of two
  // variants to about 0.003 nats (docs/experiments.md).
  int64_t max_sequences = 512;
  bool operator==(const EvalConfig&) const = default;
};

struct CheckpointConfig {
  int64_t every_steps = 1000;  // 0 = only the final one
  int64_t keep_last = 2;
  int64_t keep_every = 0;  // checkpoints whose step is a multiple of this are kept for good; 0 = none
  bool background = true;  // training goes on while one is written, from a copy of what is saved
  bool operator==(const CheckpointConfig&) const = default;
};

struct RuntimeConfig {
  DeviceKind device = DeviceKind::automatic;
  Precision precision = Precision::automatic;
  int64_t threads = 0;     // CPU threads; 0 = OMP_NUM_THREADS or all cores. Results do not depend on it.
  double peak_tflops = 0;  // of one rank's device, for MFU; 0 = by the GPU's name (train/gpu_peak.h)
  // What forward does not keep and backward makes again: less memory, the same bits. sim: the simulated q, k
  // and v; of no effect where nothing is simulated. block: all but the residual stream between blocks.
  Recompute recompute = Recompute::none;
  // How the GPU's library computes matrix products: as it ranks its algorithms, so that every run has the
  // same bits; or by whichever is fastest here, timed once per shape and kept with the run.
  MatmulChoice matmul = MatmulChoice::ranked;
  double comm_timeout_s = 600;  // a rank that has not answered for so long is given up, and the run with it
  // Of several ranks. 1: each keeps the optimizer's state of its own share of the weights alone, to the same
  // bits. How gradients are summed over them: in one order whatever their number, or as the library does it.
  int64_t zero_stage = 0;
  RankSum gradient_sum = RankSum::fixed;
  bool selfcheck =
      true;  // before a run on a GPU its kernels are held to what they must compute; on a CPU not
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

// Reads, overrides ("a.b=c", c as JSON or else as a plain string), checks and resolves one file.
// Relative data paths are taken from the folder of `path`. Throws ConfigError, also for a file
// that cannot be read. `ranks`: how many processes share each step.
Config load_config(const std::string& path, const std::vector<std::string>& overrides = {},
                   int64_t ranks = 1);

// The same of an object in hand. Relative data paths are taken from the folder of `path`; messages do not
// name it.
Config config_of(const nlohmann::json& root, const std::string& path, int64_t ranks = 1);

// Only the "model" block, which is all that eval, generate and --init-from need of a checkpoint's
// config.json. Other top-level blocks may be present or absent and are not looked into.
ModelConfig load_model_config(const std::string& path);

std::string to_json(
    const Config& config);  // resolved, indented, ends in a newline; load_config reads it back
std::string to_json(const ModelConfig& config);  // what stands under "model", alone
std::string config_schema();                     // JSON Schema (draft 2020-12) of the whole file

// Enum <-> JSON word, for messages and tables.
const char* name_of(AttentionKind kind);
const char* name_of(PositionKind kind);
const char* name_of(NormKind kind);
const char* name_of(MlpKind kind);
const char* name_of(ScheduleKind kind);
const char* name_of(Recompute recompute);

}  // namespace saslm
