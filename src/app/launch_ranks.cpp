// The ranks get torchrun's environment variables (comm/launched_as.cpp). The parent listens at the meeting
// port before it starts the ranks, and rank 0 inherits the socket, so no other program can take the port. The
// ranks also get a secret, so no other program can pass as a rank.
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
constexpr std::chrono::seconds kGrace(2);  // less than a rank delays its error message (main.cpp)

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
      if (child < 0)
        throw MachineError(
            "fork failed: there is no memory for the ranks, or the process limit is reached (ulimit -u)");
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
    if (second_signal_ != 0) {  // ends like a single process
      signal(second_signal_, SIG_DFL);
      sigprocmask(SIG_SETMASK, &before_, nullptr);
      raise(second_signal_);
    }
    return code_;
  }

 private:
  static constexpr pid_t kEnded = 0;

  // Runs in the child. A stop signal that arrives before the rank handles it stays pending, since signals are
  // blocked at its start.
  [[noreturn]] void become(int rank, int count, pid_t parent, const Socket& listener, const char* program,
                           char** argv) const {
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &child_ended, nullptr);
    setpgid(0, 0);                     // Ctrl-C on the terminal reaches it only through the parent,
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // and if that is killed, so are the ranks
    signal(SIGTTOU, SIG_IGN);          // background processes may then write to the terminal
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

  // A stopped rank (SIGSTOP) gets the signal only when it continues, and all others wait for it.
  void pass_on(int number) {
    if (!stopping_) {
      stopping_ = true;
      send(number);
      return send(SIGCONT);
    }
    if (number == SIGXCPU) return;  // it arrives every second
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
                     strsignal(number) + "), and the others are waiting for it; to continue: kill -CONT " +
                     std::to_string(pid) + "\n";
  }

  // The first rank that fails ends all others, whose errors would only be consequences.
  void take(int rank, int status) {
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (rank == 0) code_ = code;
    if (code == kDone || (rank == 0 && code == kStoppedToResume)) return;
    ending_ = true;
    code_ = code == kNotStarted ? 1 : code;
    kill_at_ = Clock::now() + kGrace;
    if (code == kStoppedToResume && stopping_)
      return;  // while joining: the others end in the same way by themselves
    const std::string who = "saslm: rank " + std::to_string(rank);
    if (WIFSIGNALED(status))
      std::cerr << who + " was ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
                       strsignal(WTERMSIG(status)) +
                       "), which ends the run; the same command continues from the newest checkpoint\n";
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
  throw ConfigError(
      option + " is " + std::to_string(ranks) + ", but a launcher started " + std::to_string(launched.size) +
      ", according to " + launched.said_by + " in the environment; leave " + option +
      " out under a launcher. If these variables are left over, " + "unset " + launched.to_unset);
}

Waiting waiting_of(const LaunchedAs& launched) {
  if (launched.rank > 0 && launched.listener >= 0) return {.stop = stop_requested};
  return {.stop = stop_requested, .say = note_aside};
}

}  // namespace saslm
