// The ranks are told who they are as torchrun tells it (comm/launched_as.cpp). The port at which they meet is
// listened at before the first of them begins, and rank 0 inherits that: no other program can take it. And
// they get a secret, without which nobody else who connects there is taken for one of them.
#include "app/launch_ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "app/command.h"
#include "app/console.h"
#include "app/stop_signal.h"
#include "comm/secret.h"
#include "comm/tcp.h"
#include "core/error.h"

namespace saslm {
namespace {

constexpr int kNotStarted = 127;
constexpr const char* kHere = "127.0.0.1";
constexpr std::chrono::seconds kGrace(2);  // less than a rank holds its tongue for (main.cpp)

// This process's own command line.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string one; std::getline(file, one, '\0');) arguments.push_back(one);
  return arguments;
}

class Launch {
 public:
  explicit Launch(int count) {
    awaited_ = stop_signals();
    sigaddset(&awaited_, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &awaited_, &before_);
    const Socket listener = listen_at({kHere, 0});
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    std::vector<std::string> arguments = own_arguments();
    std::vector<char*> argv;
    for (std::string& one : arguments) argv.push_back(one.data());
    argv.push_back(nullptr);
    for (int rank = 0; rank < count; ++rank) {
      const pid_t parent = getpid(), child = fork();
      if (child < 0) throw MachineError("fork failed: no memory or no processes left for the ranks");
      if (child == 0) become(rank, count, parent, listener, program.c_str(), argv.data());
      ranks_.push_back(child);
    }
  }

  int wait() {
    while (std::any_of(ranks_.begin(), ranks_.end(), [](pid_t pid) { return pid != kEnded; })) {
      const timespec patience = {.tv_sec = 0, .tv_nsec = 100'000'000};
      const int number = sigtimedwait(&awaited_, nullptr, &patience);
      if (number == SIGCHLD) reap();
      if (number > 0 && number != SIGCHLD) pass_on(number);
      if (ending_ && Clock::now() > kill_at_) send(SIGKILL);
    }
    if (second_signal_ != 0) {  // as a single process ends
      signal(second_signal_, SIG_DFL);
      sigprocmask(SIG_SETMASK, &before_, nullptr);
      raise(second_signal_);
    }
    return code_;
  }

 private:
  static constexpr pid_t kEnded = 0;

  // The child's part. A stop signal that comes before the rank waits for it stays pending, since it is born
  // with them blocked.
  [[noreturn]] void become(int rank, int count, pid_t parent, const Socket& listener, const char* program,
                           char** argv) const {
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &child_ended, nullptr);
    setpgid(0, 0);                     // a Ctrl-C on the terminal comes through the parent alone,
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // and if that is killed, so are the ranks
    signal(SIGTTOU, SIG_IGN);          // which for the terminal are in the background, and may write there
    const std::pair<const char*, std::string> variables[] = {
        {"RANK", std::to_string(rank)},
        {"LOCAL_RANK", std::to_string(rank)},
        {"WORLD_SIZE", std::to_string(count)},
        {"LOCAL_WORLD_SIZE", std::to_string(count)},
        {"MASTER_ADDR", kHere},
        {"MASTER_PORT", std::to_string(own_end(listener).port)},
        {"TORCHELASTIC_USE_AGENT_STORE", "False"},
        {"SASLM_LISTENER", std::to_string(listener.fd())},
        {kSecretVariable, secret_},
    };
    for (const auto& [name, value] : variables) setenv(name, value.c_str(), 1);
    fcntl(listener.fd(), F_SETFD, 0);
    if (getppid() == parent && dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) >= 0) execv(program, argv);
    _exit(kNotStarted);
  }

  void send(int number) const {
    for (const pid_t pid : ranks_)
      if (pid != kEnded) kill(pid, number);
  }

  // A rank that is stopped (SIGSTOP) hears of it when it goes on, and all others wait for it.
  void pass_on(int number) {
    if (!stopping_) {
      stopping_ = true;
      send(number);
      return send(SIGCONT);
    }
    if (number == SIGXCPU) return;  // which comes every second
    second_signal_ = number;
    ending_ = true;
    kill_at_ = Clock::now();
    send(SIGKILL);
  }

  void reap() {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
      const auto rank = std::find(ranks_.begin(), ranks_.end(), pid);
      if (rank == ranks_.end()) continue;
      const int number = int(rank - ranks_.begin());
      if (WIFSTOPPED(status)) {
        tell_of_stopped(number, pid, WSTOPSIG(status));
        continue;
      }
      *rank = kEnded;
      if (!ending_) take(number, status);
    }
  }

  static void tell_of_stopped(int rank, pid_t pid, int number) {
    std::cerr << "rank " + std::to_string(rank) + " was stopped by signal " + std::to_string(number) + " (" +
                     strsignal(number) + "), and the others wait for it: kill -CONT " + std::to_string(pid) +
                     " lets it go on\n";
  }

  // The first rank that fails ends all: what the others would still say follows from it.
  void take(int rank, int status) {
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (rank == 0) code_ = code;
    if (code == kDone || (rank == 0 && code == kStoppedToResume)) return;
    ending_ = true;
    code_ = code == kNotStarted ? 1 : code;
    kill_at_ = Clock::now() + kGrace;
    if (code == kStoppedToResume && stopping_) return;  // while joining: the others end so by themselves
    const std::string who = "saslm: rank " + std::to_string(rank);
    if (WIFSIGNALED(status))
      std::cerr << who + " was ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
                       strsignal(WTERMSIG(status)) +
                       "), and the run with it; the same command goes on from the newest checkpoint\n";
    else if (code == kNotStarted)
      std::cerr << who + " could not be started: exec failed\n";
    send(SIGTERM);
  }

  sigset_t awaited_, before_;
  const std::string secret_ = draw_secret();
  std::vector<pid_t> ranks_;
  int code_ = kDone;
  bool stopping_ = false, ending_ = false;
  int second_signal_ = 0;
  Deadline kill_at_;
};

}  // namespace

int launch_ranks(int count) {
  return Launch(count).wait();
}

void check_not_launched_twice(const LaunchedAs& launched, int64_t ranks, const std::string& option) {
  const bool by_us = launched.listener >= 0;
  if (ranks == launched.size && (by_us || !launched.launched)) return;
  throw ConfigError(option + " is " + std::to_string(ranks) + ", but a launcher started " +
                    std::to_string(launched.size) + ", as is said by " + launched.said_by +
                    " in the environment; leave " + option +
                    " out under a launcher. Where that is left over, " + "unset " + launched.to_unset);
}

Waiting waiting_of(const LaunchedAs& launched) {
  if (launched.rank > 0 && launched.listener >= 0) return {.stop = stop_requested};
  return {.stop = stop_requested, .say = note_aside};
}

}  // namespace saslm
