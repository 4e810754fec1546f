#include "app/console.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
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
  progress_.eta_s = eta_s();
  const bool last = progress_.step == progress_.steps;
  if (line_is_due() || last) show(progress_line(progress_, terminal_ ? terminal_width() - 1 : 200));
}

bool Console::line_is_due(Clock::time_point since) {
  const Clock::time_point now = Clock::now();
  if (now - std::max(last_line_, since) < (terminal_ ? Clock::duration(kLiveInterval) : kPlainInterval))
    return false;
  last_line_ = now;
  return true;
}

void Console::show(const std::string& line) {
  if (!terminal_) return spdlog::info(printable(line));
  clear_line();
  std::cerr << line.substr(0, size_t(terminal_width() - 1)) << std::flush;
  live_ = true;
}

// Before the first evaluation is timed, its time is estimated from its FLOPs.
std::optional<double> Console::eta_s() const {
  const auto training = timer_.seconds_for(progress_.steps - progress_.step), step = timer_.seconds_for(1);
  if (!training) return {};
  const double evaluation = eval_s_ ? *eval_s_ : *step * evaluations_.cost();
  return *training + evaluation * double(evaluations_.evaluations_from(progress_.step));
}

void Console::evaluating(const EvalProgress& progress) {
  evaluating("step " + std::to_string(progress.step), progress.done, progress.sequences);
}

// Without a live line, short evaluations print nothing.
void Console::evaluating(const std::string& what, int64_t done, int64_t sequences) {
  if (done == 0) eval_began_ = Clock::now();
  const bool due = line_is_due(terminal_ ? Clock::time_point{} : eval_began_);
  if (done == sequences || !(due || (terminal_ && done == 0))) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - eval_began_).count();
  std::optional<double> left;
  if (done > 0) left = seconds * double(sequences - done) / double(done);
  show(evaluation_line(what, done, sequences, left));
}

void Console::eval(const EvalRecord& record) {
  progress_.val_ppl = record.val_ppl;
  eval_s_ = record.eval_ms / 1e3;
  const std::string bits = record.val_bpb ? fmt::format(", {:.4f} bits per byte", *record.val_bpb) : "";
  note(fmt::format("step {}: validation loss {:.4f}, perplexity {:.3f}{} ({} sequences, {})", record.step,
                   record.val_loss, record.val_ppl, bits, record.sequences, human_duration(*eval_s_)));
}

void Console::checkpoint(const CheckpointRecord& record) {
  note(fmt::format("saved {} ({:.0f} ms)", record.path, record.save_ms));
  for (const std::string& path : record.removed) note("removed " + path);
}

void note_aside(const std::string& line) {
  if (isatty(STDERR_FILENO) == 1) clear_line();  // erases the live line, which is printed again
  Console(0).note(line);
}

void warn_of_skipped(const SavedModel& model) {
  for (const std::string& line : model.skipped)
    std::cerr << "warning: skipped checkpoint " << printable(line) << "\n";
}

}  // namespace saslm
