#include "app/console.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>

#include "app/terminal.h"
#include "core/printable.h"

namespace saslm {
namespace {

constexpr auto kLiveInterval = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(5);

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

}  // namespace

Console::Console(int64_t steps) : terminal_(isatty(STDERR_FILENO) == 1) {
  progress_.steps = steps;
  if (spdlog::get("saslm") == nullptr) spdlog::set_default_logger(spdlog::stderr_logger_mt("saslm"));
  spdlog::set_pattern("[%H:%M:%S] %^%v%$");
}

Console::~Console() {
  if (live_) std::cerr << "\n";
}

void Console::clear_live_line() {
  if (live_) clear_line();
  live_ = false;
}

void Console::note(const std::string& line) {
  clear_live_line();
  spdlog::info(printable(line));
}

void Console::warning(const std::string& line) {
  clear_live_line();
  spdlog::warn("warning: {}", printable(line));
}

void Console::step(const StepRecord& record) {
  timer_.add(record.step_ms);
  progress_.step = record.step + 1;
  progress_.loss = record.loss;
  progress_.lr = record.lr;
  progress_.tokens_per_s = record.tokens_per_s;
  progress_.mfu = record.mfu;
  progress_.eta_s = timer_.seconds_for(progress_.steps - progress_.step);

  const auto now = std::chrono::steady_clock::now();
  const bool last = progress_.step == progress_.steps;
  if (!last &&
      now - last_line_ < (terminal_ ? std::chrono::steady_clock::duration(kLiveInterval) : kPlainInterval))
    return;
  last_line_ = now;
  if (terminal_) {
    clear_line();
    std::cerr << progress_line(progress_, terminal_width() - 1) << std::flush;
    live_ = true;
  } else {
    spdlog::info(progress_line(progress_, 200));
  }
}

void Console::eval(const EvalRecord& record) {
  progress_.val_ppl = record.val_ppl;
  note(fmt::format("step {}: validation loss {:.4f}, perplexity {:.3f}", record.step, record.val_loss,
                   record.val_ppl));
}

void Console::checkpoint(const CheckpointRecord& record) {
  note(fmt::format("saved {} ({:.0f} ms)", record.path, record.save_ms));
}

void warn_of_skipped(const SavedModel& model) {
  for (const std::string& line : model.skipped)
    std::cerr << "warning: skipped checkpoint " << printable(line) << "\n";
}

}  // namespace saslm
