// Step -> learning rate. Pure.
//
//   warmup (s < warmup_steps)   peak (s+1)/warmup_steps
//   then f = (s+1-warmup)/(steps-warmup), in (0, 1]:
//     constant  peak                       cosine  low + (peak-low)(1 + cos(pi f))/2
//     linear    peak + (low-peak) f        wsd     peak, and linear to low over the last n steps,
//                                                  n = round(decay_fraction * steps)
//
// The last step of cosine, linear and wsd uses exactly low = peak * min_lr_ratio.
#pragma once
#include <cmath>
#include <numbers>

#include "config/config.h"

namespace saslm {

// Learning rate of step s, 0 <= s < steps.
inline double learning_rate(const OptimConfig& optim, int64_t steps, int64_t s) {
  const ScheduleConfig& schedule = optim.schedule;
  const double peak = optim.lr, low = optim.lr * schedule.min_lr_ratio;
  if (s < schedule.warmup_steps) return peak * double(s + 1) / double(schedule.warmup_steps);
  if (schedule.kind == ScheduleKind::constant) return peak;
  if (s + 1 >= steps) return low;

  const double f = double(s + 1 - schedule.warmup_steps) / double(steps - schedule.warmup_steps);
  switch (schedule.kind) {
    case ScheduleKind::cosine:
      return low + 0.5 * (peak - low) * (1 + std::cos(std::numbers::pi * f));
    case ScheduleKind::linear:
      return peak + (low - peak) * f;
    case ScheduleKind::wsd: {
      const int64_t decay_steps = std::llround(schedule.decay_fraction * double(steps));
      const int64_t into_decay = s + 1 - (steps - decay_steps);
      return into_decay <= 0 ? peak : peak + (low - peak) * double(into_decay) / double(decay_steps);
    }
    case ScheduleKind::constant:
      break;
  }
  return peak;
}

}  // namespace saslm
