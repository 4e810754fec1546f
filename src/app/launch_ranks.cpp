#include "app/launch_ranks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "core/error.h"

namespace saslm {
namespace {

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// This process's own command line.
std::vector<std::string> own_arguments() {
  const std::string all = read_all("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = all.find('\0', begin);
    arguments.push_back(all.substr(begin, end - begin));
    begin = end + 1;
  }
  return arguments;
}

std::vector<std::string> mpirun_command(int ranks) {
  std::vector<std::string> command = {"mpirun", "-np", std::to_string(ranks), "--oversubscribe"};
  const std::pair<const char*, const char*> settings[] = {
      {"hwloc_base_binding_policy", "none"},  // threads go where there is room
      {"btl", "self,vader"},                  // this machine's memory; no network is looked for
      {"plm", "isolated"}};                   // nor ssh
  for (const auto& [key, value] : settings) command.insert(command.end(), {"--mca", key, value});
  if (geteuid() == 0) command.push_back("--allow-run-as-root");
  std::vector<std::string> own = own_arguments();
  own[0] = std::filesystem::read_symlink("/proc/self/exe");
  command.insert(command.end(), own.begin(), own.end());
  return command;
}

// Stop signals, which are waited for together with what mpirun writes.
constexpr int kStopSignals[] = {SIGTERM, SIGINT, SIGUSR1};

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kStopSignals) sigaddset(&signals, signal);
  return signals;
}

// mpirun, its errors going into `errors`. This process's stop signals are blocked.
pid_t start(std::vector<std::string> command, int errors) {
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) throw MachineError("fork failed: no memory or no processes left for the ranks");
  if (child > 0) return child;
  const sigset_t signals = stop_signals();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  setpgid(0, 0);                     // a Ctrl-C on the terminal comes through the parent alone,
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // and if that is killed, so are the ranks
  if (getppid() == parent && dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) >= 0 &&
      dup2(errors, STDERR_FILENO) >= 0)
    execvp(argv[0], argv.data());
  _exit(127);
}

// A rank that does not block SIGUSR1 does not wait for it yet (app/stop_signal.h), and would die of it.
bool all_wait_for_signals(pid_t mpirun, int ranks) {
  const std::string id = std::to_string(mpirun);
  std::ifstream children("/proc/" + id + "/task/" + id + "/children");
  for (std::string rank; children >> rank;) {
    const std::string status = read_all("/proc/" + rank + "/status");
    const size_t blocked = status.find("SigBlk:\t");
    if (blocked == std::string::npos) return false;
    if (std::stoull(status.substr(blocked + 8, 16), nullptr, 16) >> (SIGUSR1 - 1) & 1) --ranks;
  }
  return ranks == 0;
}

bool holds_any(const std::string& text, std::initializer_list<const char*> phrases) {
  return std::any_of(phrases.begin(), phrases.end(),
                     [&](const char* phrase) { return text.find(phrase) != std::string::npos; });
}

// Passes on what the ranks and mpirun say, line by line. mpirun puts its own between lines of dashes; of what
// follows from a rank's end, only that it was killed is news.
class Relay {
 public:
  void take(std::string_view bytes) {
    rest_ += bytes;
    for (size_t end; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1))
      take_line(rest_.substr(0, end + 1));
  }
  ~Relay() { std::cerr << block_ << rest_ << std::flush; }

 private:
  void take_line(const std::string& line) {
    if (line.starts_with("saslm: ")) {  // a rank's word, even amid mpirun's
      std::cerr << line << std::flush;
      return;
    }
    const bool dashes = line.size() > 60 && line.find_first_not_of('-') == line.size() - 1;
    if (!block_.empty() || dashes) block_ += line;
    if (dashes && block_.size() > line.size()) {
      std::cerr << news(block_) << std::flush;
      block_.clear();
    } else if (block_.empty() && !holds_any(line, {" sent help message ", "\"orte_base_help_aggregate\"",
                                                   "show_help.c", "mpirun: Forwarding signal"})) {
      std::cerr << line << std::flush;
    }
  }

  static std::string news(const std::string& block) {
    std::smatch killed;
    if (std::regex_search(block, killed, std::regex("process\\s+rank\\s+(\\d+)[^]*on\\s+signal\\s+([^.]*)")))
      return "saslm: rank " + killed.str(1) + " was ended by signal " + killed.str(2) +
             ", and the run with it; the same command goes on from the newest checkpoint\n";
    return holds_any(block, {"MPI_ABORT was invoked", "Primary job", "exited with non-zero status"}) ? ""
                                                                                                     : block;
  }

  std::string rest_, block_;  // an unfinished line; mpirun's, from its first dashes on
};

// Reads until mpirun is gone, and passes on signals: how many there were.
int relay(pid_t mpirun, int ranks, int errors, int signals) {
  Relay relay;
  for (int asked = 0, passed = 0;;) {
    // mpirun hands SIGUSR1 to every rank; by SIGTERM it ends them.
    if (asked > passed && (asked > 1 || all_wait_for_signals(mpirun, ranks)))
      kill(mpirun, (passed = asked) > 1 ? SIGTERM : SIGUSR1);
    std::array<pollfd, 2> ready = {{{errors, POLLIN, 0}, {signals, POLLIN, 0}}};
    if (poll(ready.data(), ready.size(), asked > passed ? 10 : -1) < 0) continue;
    signalfd_siginfo signal;
    if (ready[1].revents && read(signals, &signal, sizeof signal) > 0) ++asked;
    if (!ready[0].revents) continue;
    std::array<char, 1 << 14> bytes;
    const ssize_t count = read(errors, bytes.data(), bytes.size());
    if (count <= 0) return asked;
    relay.take({bytes.data(), size_t(count)});
  }
}

}  // namespace

int launch_ranks(int ranks) {
  const sigset_t signals = stop_signals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  int errors[2];
  const int signal_queue = signalfd(-1, &signals, SFD_CLOEXEC);
  if (signal_queue < 0 || pipe2(errors, O_CLOEXEC) != 0)
    throw IoError::from_errno("pipe2, signalfd", "to mpirun");
  const pid_t mpirun = start(mpirun_command(ranks), errors[1]);
  close(errors[1]);
  const int asked = relay(mpirun, ranks, errors[0], signal_queue);
  int status = 0;
  waitpid(mpirun, &status, 0);
  if (asked > 1) {  // as a single process ends
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &signals, nullptr);
    raise(SIGTERM);
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  if (code == 127)
    throw ConfigError("--ranks " + std::to_string(ranks) +
                      ": mpirun was not found; install Open MPI (Debian: openmpi-bin)");
  return code > 128 ? 1 : code;  // of a rank that was killed
}

}  // namespace saslm
