// saslm: the command line. The only place that catches, and the only one that decides an exit code.
#include <execinfo.h>
#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <system_error>
#include <thread>

#include "app/command.h"
#include "app/command_line.h"
#include "app/complete.h"
#include "app/process.h"
#include "app/stop_signal.h"
#include "app/terminal.h"
#include "app/usage.h"
#include "comm/communicator.h"
#include "core/error.h"
#include "core/printable.h"

namespace {

saslm::LaunchedAs launched_if_known() {
  try {
    return saslm::launched_as();
  } catch (const saslm::ConfigError&) {  // this may be the error to be reported
    return {};
  }
}

// Waits for this process to be killed or stopped because another rank ended.
bool ended_within(std::chrono::seconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  const bool before = saslm::stop_requested();  // then the next signal ends the process anyway
  while (saslm::stop_requested() == before && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return saslm::stop_requested() != before;
}

// Better messages for standard exceptions.
std::string message_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return "out of memory";
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system && system->code() == std::errc::resource_unavailable_try_again)
    return "cannot start another thread: out of memory, or the thread limit is reached (ulimit -u)";
  return error.what();
}

// A failing rank ends the others. If all ranks have the same error, rank 0 reports it before the others may.
int fail(int code, const std::string& message, const std::string& hint = "") {
  const saslm::LaunchedAs launched = launched_if_known();
  if (launched.rank > 0 && ended_within(std::chrono::seconds(3))) return code;
  const std::string who = launched.size > 1 ? "rank " + std::to_string(launched.rank) + ": " : "";
  std::cerr << "saslm: " + who + saslm::printable(message) + "\n" +
                   hint;  // in one write, since others use the same terminal
  saslm::abort_ranks(code);
  return code;
}

}  // namespace

int saslm::report(const std::exception& error) {
  if (dynamic_cast<const PeerError*>(&error)) {
    ended_within(std::chrono::seconds(10));
    return 1;
  }
  if (dynamic_cast<const StoppedError*>(
          &error)) {  // of ranks that this program started, only rank 0 prints it
    const LaunchedAs launched = launched_if_known();
    if (launched.rank == 0 || launched.listener < 0)
      std::cerr << std::string("saslm: ") + error.what() + "\n";
    return kStoppedToResume;
  }
  return fail(dynamic_cast<const UserError*>(&error)       ? 2
              : dynamic_cast<const DivergedError*>(&error) ? 3
                                                           : 1,
              message_of(error));
}

namespace {

int run_command(int argc, char** argv) {
  using namespace saslm;
  CLI::App app;
  RunCommand run;
  build_command_line(app, run);
  if (argc > 1 && std::string_view(argv[1]) == kComplete) {
    for (const std::string& line : completions(app, {argv + 2, argv + argc})) std::cout << line << "\n";
    return kDone;
  }

  try {
    app.parse(argc, argv);
    const int code = run();
    // Unwritten output is a failure.
    if (!std::cout.flush() || std::fflush(stdout) != 0 || std::ferror(stdout))
      return fail(1, "cannot write to standard output");
    return code;
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    const UsageProblem problem = usage_problem(app, e, {argv + 1, argv + argc});
    return fail(2, problem.message, "run `" + problem.where_help_is + "` for a list\n");
  }
}

constexpr const char* kNoMemory = "saslm: out of memory\n";

// For errors that cannot propagate, such as from destructors (JSON values allocate there).
[[noreturn]] void end_here() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
    // std::filesystem ends like this if it cannot allocate.
    std::fputs("saslm: ended inside a library without an error, probably out of memory\n", stderr);
    std::_Exit(1);
  } catch (const std::bad_alloc&) {
    std::fputs(kNoMemory, stderr);
    std::_Exit(1);
  } catch (const std::exception& error) {
    std::fputs(("saslm: " + saslm::printable(error.what()) + "\n").c_str(), stderr);
  }
  std::abort();
}

}  // namespace

int main(int argc, char** argv) {
  std::set_terminate(end_here);
  for (int standard = 0; standard <= 2; ++standard)  // otherwise the next opened file would get its number
    if (::fcntl(standard, F_GETFD) < 0) ::open("/dev/null", O_RDWR);
  const saslm::PrintableStreams printable_streams;
  void* frame = nullptr;
  ::backtrace(&frame, 1);  // loads glibc's unwinder now: without memory it would abort later
  try {
    saslm::prepare_process(argv);
    return run_command(argc, argv);
  } catch (const std::exception& error) {
    try {
      return saslm::report(error);
    } catch (const std::bad_alloc&) {  // no memory even for the full message
      std::fputs(kNoMemory, stderr);
      return 1;
    }
  }
}
