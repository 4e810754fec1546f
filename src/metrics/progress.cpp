#include "metrics/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <span>

namespace saslm {

namespace {

constexpr double kDecay = 0.98;  // the mean looks back over about 50 steps

template <class... Args>
std::string text(const char* format, Args... args) {
  char buffer[96];
  std::snprintf(buffer, sizeof buffer, format, args...);
  return buffer;
}

// Three significant digits and the unit that leaves one to three of them before the point.
std::string scaled(double n, double base, std::span<const char* const> units) {
  size_t unit = 0;
  // 999.5 would be rounded to 1000, so it belongs to the next unit already.
  for (; unit + 1 < units.size() && std::abs(n) >= (unit == 0 ? base : base - 0.5); ++unit) n /= base;
  if (unit == 0) return text("%.0f%s", n, units[0]);
  const int decimals = std::abs(n) < 9.995 ? 2 : std::abs(n) < 99.95 ? 1 : 0;
  return text("%.*f%s", decimals, n, units[unit]);
}

}  // namespace

std::string human_count(double n) {
  static constexpr std::array kUnits = {"", "K", "M", "B", "T", "P"};
  return scaled(n, 1000, kUnits);
}

std::string human_bytes(int64_t n) {
  static constexpr std::array kUnits = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  return scaled(double(n), 1024, kUnits);
}

std::string human_duration(double seconds) {
  if (!(seconds >= 0) || !(seconds < 1e12)) return "?";
  const auto s = static_cast<long long>(std::llround(seconds));
  if (s < 60) return text("%llds", s);
  if (s < 3600) return text("%lldm%02llds", s / 60, s % 60);
  if (s < 86400) return text("%lldh%02lldm", s / 3600, s % 3600 / 60);
  return text("%lldd%02lldh", s / 86400, s % 86400 / 3600);
}

void StepTimer::add(double step_ms) {
  sum_ms_ = sum_ms_ * kDecay + step_ms;
  weight_ = weight_ * kDecay + 1;
}

std::optional<double> StepTimer::seconds_for(int64_t steps) const {
  if (weight_ == 0) return std::nullopt;
  return sum_ms_ / weight_ * double(steps) / 1e3;
}

std::string evaluation_line(const std::string& what, int64_t done, int64_t sequences,
                            std::optional<double> seconds_left) {
  std::string line =
      what + ": evaluating " + std::to_string(done) + "/" + std::to_string(sequences) + " sequences";
  if (seconds_left) line += " | " + human_duration(*seconds_left) + " left";
  return line;
}

std::string progress_line(const Progress& p, int width) {
  struct Field {
    std::string shown;
    int importance;  // the lowest goes first
  };
  std::array<Field, 7> fields = {{
      {text("step %lld/%lld", static_cast<long long>(p.step), static_cast<long long>(p.steps)), 7},
      {text("loss %.4f", p.loss), 6},
      {p.val_ppl ? text("val ppl %.2f", *p.val_ppl) : "", 3},
      {text("lr %.2e", p.lr), 1},
      {human_count(p.tokens_per_s) + " tok/s", 4},
      {p.mfu ? text("mfu %.1f%%", *p.mfu * 100) : "", 2},
      {p.eta_s ? "eta " + human_duration(*p.eta_s) : "", 5},
  }};
  const auto joined = [&] {
    std::string line;
    for (const Field& field : fields) {
      if (!field.shown.empty()) line += (line.empty() ? "" : " | ") + field.shown;
    }
    return line;
  };
  const size_t room = size_t(std::max(width, 0));
  std::string line = joined();
  for (int least = 1; line.size() > room && least < int(fields.size()); ++least) {
    for (Field& field : fields) {
      if (field.importance == least) field.shown.clear();
    }
    line = joined();
  }
  line.resize(std::min(line.size(), room));
  return line;
}

}  // namespace saslm
