#include "config/resolve.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "config/json_text.h"
#include "core/error.h"
#include "core/glob_pattern.h"

namespace saslm {
namespace {

// Far above any machine, far below what overflows 64-bit byte counts.
constexpr double kMaxParameters = 0x1p40;   // a million million
constexpr double kMaxStepTokens = 0x1p31;   // of one optimiser step
constexpr double kMaxActivations = 0x1p50;  // values of one micro-step

std::string text(int64_t value) {
  return std::to_string(value);
}

[[noreturn]] void fail(const std::string& message) {
  throw ConfigError(message);
}

// Without its stage a simulated size equals the plain one and may be omitted.
void resolve_unsimulated(const char* key, const char* part, int64_t& size, const char* plain_key,
                         int64_t plain) {
  if (size != 0 && size != plain)
    fail("model.attention.sas." + std::string(key) + ": wanted " + plain_key + " (" + text(plain) +
         ") or no key, since \"" + part + "\" is not simulated, got " + text(size) + "; remove it or add \"" +
         part + "\" to simulate");
  size = plain;
}

void resolve(SasConfig& sas, const AttentionConfig& attention) {
  const std::string path = "model.attention.sas.";
  if (sas.values && !sas.heads)
    fail(path +
         "simulate: \"values\" needs \"heads\", since values are simulated by the head convolution; add "
         "\"heads\" or remove \"values\"");
  if (!sas.heads) resolve_unsimulated("n_sim_head", "heads", sas.n_sim_head, "n_head", attention.n_head);
  if (!sas.features)
    resolve_unsimulated("sim_head_dim", "features", sas.sim_head_dim, "head_dim", attention.head_dim);
  if (sas.n_sim_head % attention.n_head != 0)
    fail(path + "n_sim_head: wanted a multiple of n_head (" + text(attention.n_head) + "), got " +
         text(sas.n_sim_head));
  if (sas.kernel_size % 2 == 0)
    fail(path + "kernel_size: wanted an odd number, so that the convolution has a centre, got " +
         text(sas.kernel_size));
}

void resolve(const MohConfig& moh, const AttentionConfig& attention) {
  if (moh.n_shared_head + moh.top_k > attention.n_head)
    fail("model.attention.moh.top_k: wanted at most n_head - n_shared_head (" +
         text(attention.n_head - moh.n_shared_head) + "), got " + text(moh.top_k));
}

void resolve(const WindowConfig& window) {
  if (window.pattern.empty() || window.pattern.find_first_not_of("SL") != std::string::npos)
    fail(
        "model.attention.window.pattern: wanted letters S (the window) and L (all positions before), one or "
        "more, such as \"SSSL\", got \"" +
        shorten(window.pattern) + "\"");
}

void resolve_projection(GqaConfig& gqa, AttentionConfig& attention) {
  int64_t& n_kv_head = gqa.n_kv_head;
  if (attention.kind == AttentionKind::mqa) n_kv_head = 1;
  if (attention.kind != AttentionKind::mqa && attention.kind != AttentionKind::gqa)
    n_kv_head = attention.n_head;
  if (attention.n_head % n_kv_head != 0)
    fail("model.attention.n_kv_head: wanted a divisor of n_head (" + text(attention.n_head) + "), got " +
         text(n_kv_head));
}

// A head is as wide as its two parts.
void resolve_projection(MlaConfig& mla, AttentionConfig& attention) {
  const int64_t width = mla.nope_dim + mla.rope_dim;
  if (attention.head_dim != 0 && attention.head_dim != width)
    fail("model.attention.head_dim: wanted mla.nope_dim + mla.rope_dim (" + text(width) +
         ") or no key, got " + text(attention.head_dim) + "; remove it");
  attention.head_dim = width;
}

// A projection with nothing to compute or to check.
template <class P>
void resolve_projection(P&, AttentionConfig&) {}

void resolve(AttentionConfig& attention) {
  std::visit([&](auto& projection) { resolve_projection(projection, attention); }, attention.projection);
  if (attention.sas) resolve(*attention.sas, attention);
  if (attention.moh) resolve(*attention.moh, attention);
  if (attention.window) resolve(*attention.window);

  const char* key = std::visit([](const auto& p) { return p.kRotated; }, attention.projection);
  if (attention.sas) key = attention.sas->features ? "sas.sim_head_dim" : "head_dim";
  const int64_t width = attention.rotated_width();
  if (attention.position == PositionKind::rope && width % 2 != 0)
    fail(std::string("model.attention.") + key +
         ": wanted an even number, since position \"rope\" rotates pairs of features, got " + text(width));
}

// At least the parameter count; in double, which cannot overflow.
double parameter_bound(const ModelConfig& m) {
  const AttentionConfig& a = m.attention;
  const double d = double(m.d_model), H = double(a.n_head), D = double(a.head_dim);
  double layer = std::visit([&](const auto& p) { return p.weights(d, H, D); }, a.projection) +
                 3 * d * double(m.mlp.hidden);
  if (a.sas) {
    const double Hs = double(a.sas->n_sim_head), Ds = double(a.sas->sim_head_dim);
    layer += 3 * Hs * (H + Hs) * double(a.sas->kernel_size) + 2 * Ds * (D + Ds);
  }
  if (a.moh) layer += d * (H + 2);
  return 2 * d * double(m.vocab_size) + d * double(m.max_seq_len) + layer * double(m.n_layer);
}

// Approximate number of values stored per token in forward and backward.
double activations_per_token(const ModelConfig& m) {
  const AttentionConfig& a = m.attention;
  double values =
      std::visit([&](const auto& p) { return p.values(double(a.n_head), double(a.head_dim)); }, a.projection);
  if (a.sas) values += 8 * double(a.sas->n_sim_head) * double(a.sas->sim_head_dim + a.head_dim);
  return double(m.vocab_size) +
         double(m.n_layer) * (8 * double(m.d_model) + values + 4 * double(m.mlp.hidden));
}

void resolve(TrainConfig& train, const ModelConfig& model) {
  if (train.seq_len == 0) train.seq_len = model.max_seq_len;
  if (train.seq_len > model.max_seq_len)
    fail("train.seq_len: wanted at most model.max_seq_len (" + text(model.max_seq_len) + "), got " +
         text(train.seq_len));

  if (train.ranks < 1 || (train.ranks & (train.ranks - 1)) != 0)
    fail("wanted 1, 2, 4, 8, ... ranks (a fixed summation order needs a power of two), got " +
         text(train.ranks));
  const bool given = train.grad_accum != 0;
  const int64_t together = train.micro_batch * train.ranks;
  const std::string by_ranks = train.ranks > 1 ? " * " + text(train.ranks) + " ranks" : "";
  if (!given && train.global_batch % together != 0)
    fail("train.global_batch: wanted a multiple of micro_batch (" + text(train.micro_batch) + by_ranks +
         "), got " + text(train.global_batch));
  if (!given) train.grad_accum = std::max<int64_t>(1, train.global_batch / together);
  const int64_t sequences = together * train.grad_accum;
  if (train.global_batch != 0 && train.global_batch != sequences)
    fail("train.global_batch: wanted micro_batch * grad_accum" + by_ranks + " (" + text(sequences) +
         "), got " + text(train.global_batch) + "; give only one of global_batch and grad_accum");
  train.global_batch = sequences;

  if (double(sequences) * double(train.seq_len) >= kMaxStepTokens)
    fail("train.seq_len: wanted fewer than 2^31 tokens in a step, got micro_batch * grad_accum * seq_len = " +
         text(train.micro_batch) + " * " + text(train.grad_accum) + " * " + text(train.seq_len));
  if (double(train.micro_batch) * double(train.seq_len) * activations_per_token(model) > kMaxActivations)
    fail("train.micro_batch: " + text(train.micro_batch) + " sequences of " + text(train.seq_len) +
         " tokens need more than 2^50 values in this model; lower micro_batch, seq_len or the model's sizes");
}

enum class Holds { path, pattern };

// One file should have one spelling, for the system and for comparisons of runs: the config's folder with
// links resolved, then the pattern with leading ".." applied to it. Later ".." stay, since they may follow
// links. The folder is escaped, so that a name such as "run*" matches only itself.
std::string absolute_path(const std::filesystem::path& folder, const std::string& path,
                          const std::string& key, Holds names) {
  if (path.empty()) fail(key + ": wanted a path or a glob pattern, got an empty string");
  if (path.find('\0') != std::string::npos)
    fail(key + ": wanted a path or a glob pattern, got a zero byte in it");
  std::filesystem::path base = folder, rest;
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    if (rest.empty() && part == "..") base = base.parent_path();
    if (rest.empty() && (part == ".." || part == ".")) continue;
    rest /= part;
  }
  const std::filesystem::path before = names == Holds::pattern ? pattern_of(base.string()) : base.string();
  const std::string absolute = (before / rest).string();  // only `rest` if it is absolute
  if (!is_utf8(absolute))
    fail(key + ": " + absolute + " is not UTF-8, so a run cannot record it; rename the folder");
  return absolute;
}

void resolve(DataConfig& data, const std::string& config_path) {
  std::error_code error;
  const auto folder = std::filesystem::canonical(std::filesystem::absolute(config_path).parent_path(), error);
  if (error) fail("cannot find this config file's folder: " + error.message());
  for (std::string& path : data.train) path = absolute_path(folder, path, "data.train", Holds::pattern);
  for (std::string& path : data.val) path = absolute_path(folder, path, "data.val", Holds::pattern);
  if (!data.tokenizer.empty() && data.tokenizer != "bytes")
    data.tokenizer = absolute_path(folder, data.tokenizer, "data.tokenizer", Holds::path);
}

}  // namespace

int64_t AttentionConfig::rotated_width() const {
  if (sas) return sas->sim_head_dim;
  return std::visit([&](const auto& p) { return p.rotated_width(head_dim); }, projection);
}

std::optional<int64_t> AttentionConfig::window_of(int64_t layer) const {
  if (!window || window->pattern[size_t(layer) % window->pattern.size()] == 'L') return std::nullopt;
  return window->size;
}

constexpr double kLeastSoftcap = 1e-3;  // its inverse, and what it divides, stay far from fp32's limits

void resolve(ModelConfig& model) {
  resolve(model.attention);
  if (model.logit_softcap > 0 && model.logit_softcap < kLeastSoftcap)
    fail("model.logit_softcap: wanted 0 (off) or a cap of at least 0.001, got " +
         describe(nlohmann::json(model.logit_softcap)));
  if (parameter_bound(model) > kMaxParameters)
    fail(
        "model: these sizes give more than 2^40 parameters; lower vocab_size, d_model, n_layer, mlp.hidden "
        "or the heads");
}

void resolve(Config& config, const std::string& config_path) {
  resolve(config.model);
  resolve(config.data, config_path);
  resolve(config.train, config.model);
  const int64_t warmup = config.optim.schedule.warmup_steps;
  if (warmup > config.train.steps)
    fail("optim.schedule.warmup_steps: wanted at most train.steps (" + text(config.train.steps) + "), got " +
         text(warmup));
  if (config.runtime.precision == Precision::bf16 && config.runtime.device == DeviceKind::cpu)
    fail(
        "runtime.precision: the CPU computes in fp32, got \"bf16\" with device \"cpu\"; set it to \"fp32\" "
        "or \"auto\"");
}

}  // namespace saslm
