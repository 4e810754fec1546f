// Decides which steps are skipped, so that they do not change the weights: those whose loss or gradient norm
// is not finite, whose gradient is too large to be squared in fp32, or whose loss is far above the recent
// ones. A skipped step does not change the statistics. The state is plain data, saved in checkpoints.
#pragma once
#include <cmath>
#include <deque>
#include <optional>
#include <string>

#include "config/config.h"

namespace saslm {

class BadStepDetector {
 public:
  static constexpr double kMaxNorm = 1e19;  // beyond it, AdamW's squares are infinite in fp32, and stay so

  struct State {
    std::deque<double> losses;  // of the last accepted steps, at most spike_window
    int64_t bad_in_row = 0;
  };

  explicit BadStepDetector(const TrainConfig& config) : config_(config) {}

  const State& state() const { return state_; }
  void restore(State state) { state_ = std::move(state); }

  // Returns why the step is bad, or nothing if it is good, and records the outcome.
  std::optional<std::string> judge(double loss, double grad_norm) {
    std::optional<std::string> reason = find_fault(loss, grad_norm);
    if (reason) {
      ++state_.bad_in_row;
      return reason;
    }
    state_.bad_in_row = 0;
    if (config_.spike_threshold > 0) {
      state_.losses.push_back(loss);
      if (int64_t(state_.losses.size()) > config_.spike_window) state_.losses.pop_front();
    }
    return {};
  }

  bool diverged() const { return state_.bad_in_row >= config_.max_bad_steps; }

 private:
  std::optional<std::string> find_fault(double loss, double grad_norm) const {
    if (!std::isfinite(loss)) return "loss is not finite";
    if (!std::isfinite(grad_norm)) return "gradient is not finite";
    if (grad_norm > kMaxNorm) return "gradient is too large: its norm is " + std::to_string(grad_norm);
    if (config_.spike_threshold <= 0 || int64_t(state_.losses.size()) < config_.spike_window) return {};
    double mean = 0, variance = 0;
    for (const double x : state_.losses) mean += x / double(state_.losses.size());
    for (const double x : state_.losses) variance += (x - mean) * (x - mean) / double(state_.losses.size());
    if (loss - mean <= config_.spike_threshold * std::sqrt(variance)) return {};
    return "loss spike: " + std::to_string(loss) + " against a mean of " + std::to_string(mean) +
           " and a deviation of " + std::to_string(std::sqrt(variance));
  }

  TrainConfig config_;
  State state_;
};

}  // namespace saslm
