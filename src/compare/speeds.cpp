#include "compare/speeds.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "metrics/progress.h"
#include "train/time_steps.h"

namespace saslm {
namespace {

constexpr size_t kRounds = 3, kMostRounds = 8;
constexpr int64_t kWarmup = 2, kSteps = 3;
constexpr double kSeconds = 0.7;  // per round and variant

using Rounds = std::vector<std::vector<double>>;  // tokens/s, by variant

std::span<const double> last_of(const std::vector<double>& rounds) {
  return std::span(rounds).last(std::min(kRounds, rounds.size()));
}

bool all_steady(const Rounds& rounds) {
  return std::all_of(rounds.begin(), rounds.end(), [](const auto& of) { return steady(last_of(of)); });
}

// Broadcasts rank 0's value.
template <class Value>
Value as_the_first(const Communicator& comm, const Value& mine) {
  return nlohmann::json::parse(gather_texts(comm, nlohmann::json(mine).dump(), "measuring of speeds")[0])
      .get<Value>();
}

bool anyone(const Communicator& comm, bool mine) {
  const auto all = gather_numbers(comm, {double(mine)}, "measuring of speeds");
  return std::any_of(all.begin(), all.end(), [](double one) { return one != 0; });
}

// One variant's part of a round; nullopt if told to stop.
template <class T>
std::optional<double> measure(const VariantPlan& variant, const Ops<T>& ops, const Communicator& comm,
                              const std::function<bool()>& stop) {
  const auto ms =
      time_steps(variant.config, ops,
                 {.warmup = kWarmup, .steps = kSteps, .seconds = kSeconds, .stop = stop, .comm = comm});
  if (anyone(comm, stop && stop())) return {};
  return double(variant.plan.tokens_per_step) / median(ms) * 1e3;
}

std::string range_of(std::span<const double> speeds) {
  const auto [slowest, fastest] = std::minmax_element(speeds.begin(), speeds.end());
  return human_count(*slowest) + " to " + human_count(*fastest) + " tokens/s";
}

// Checks a speed that was measured before and has determined the length of runs.
void check_as_before(const VariantPlan& variant, double now) {
  const double both[] = {variant.tokens_per_s, now};
  if (steady(both)) return;
  throw ConfigError(variant.name + " trained at " + human_count(variant.tokens_per_s) +
                    " tokens/s when this comparison started, and now trains at " + human_count(now) +
                    ", so a new variant would get more or less training per second; wait until the machine "
                    "is as it was, or choose another --run-dir");
}

void take(VariantPlan& variant, std::span<const double> rounds, CompareObserver& observer) {
  const double speed = median({rounds.begin(), rounds.end()});
  if (variant.tokens_per_s > 0) return check_as_before(variant, speed);
  variant.tokens_per_s = speed;
  variant.speed_rounds.assign(rounds.begin(), rounds.end());
  observer.note(variant.name + ": measured " + std::to_string(int64_t(speed)) + " tokens/s");
  if (!steady(rounds))
    observer.warning(variant.name + " trained at " + range_of(rounds) +
                     " while its speed was measured, more than 10 % apart: the machine is busy, so there "
                     "will be no verdict at equal time");
}

}  // namespace

bool steady(std::span<const double> speeds) {
  const auto [slowest, fastest] = std::minmax_element(speeds.begin(), speeds.end());
  return *fastest <= kSteadySpeeds * *slowest;
}

template <class T>
bool measure_speeds(ComparePlan& plan, const Ops<T>& ops, const Communicator& comm, CompareObserver& observer,
                    const std::function<bool()>& stop) {
  if (std::all_of(plan.variants.begin(), plan.variants.end(),
                  [](const auto& v) { return v.tokens_per_s > 0; }))
    return true;
  Rounds rounds(plan.variants.size());
  for (size_t round = 1; round <= kMostRounds; ++round) {
    for (size_t v = 0; v < plan.variants.size(); ++v) {
      const auto speed = measure(plan.variants[v], ops, comm, stop);
      if (!speed) return false;
      rounds[v].push_back(*speed);
    }
    if (as_the_first(comm, round >= kRounds && all_steady(rounds))) break;
  }
  rounds = as_the_first(comm, rounds);
  for (size_t v = 0; v < plan.variants.size(); ++v) take(plan.variants[v], last_of(rounds[v]), observer);
  return true;
}

template bool measure_speeds(ComparePlan&, const Ops<float>&, const Communicator&, CompareObserver&,
                             const std::function<bool()>&);
template bool measure_speeds(ComparePlan&, const Ops<bf16>&, const Communicator&, CompareObserver&,
                             const std::function<bool()>&);

}  // namespace saslm
