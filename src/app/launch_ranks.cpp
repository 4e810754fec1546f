#include "app/launch_ranks.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"

namespace saslm {
namespace {

// This process's own command line.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
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
      {"hwloc_base_binding_policy", "none"},    // threads go where there is room
      {"btl", "self,vader"},                    // this machine's memory; no network is looked for
      {"plm", "isolated"},                      // nor ssh
      {"orte_abort_on_non_zero_status", "0"}};  // all stop together with 75: that is no failure
  for (const auto& [key, value] : settings) command.insert(command.end(), {"--mca", key, value});
  if (geteuid() == 0) command.push_back("--allow-run-as-root");
  std::vector<std::string> own = own_arguments();
  own[0] = std::filesystem::read_symlink("/proc/self/exe");
  command.insert(command.end(), own.begin(), own.end());
  return command;
}

}  // namespace

int launch_ranks(int ranks) {
  // From here on signals are waited for, together with the child's end.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGCHLD}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);

  std::vector<std::string> command = mpirun_command(ranks);
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw MachineError("fork failed: no memory or no processes left for the ranks");
  if (child == 0) {
    sigprocmask(SIG_UNBLOCK, &signals, nullptr);
    setpgid(0, 0);                     // a Ctrl-C on the terminal comes through this process alone
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // and if that is killed, so are the ranks
    execvp(argv[0], argv.data());
    _exit(127);
  }
  for (int signals_seen = 0;;) {
    int signal = 0, status = 0;
    sigwait(&signals, &signal);
    if (signal != SIGCHLD) {
      // mpirun hands SIGUSR1 to every rank; by SIGTERM it ends them itself.
      kill(child, ++signals_seen == 1 ? SIGUSR1 : SIGTERM);
      continue;
    }
    if (waitpid(child, &status, WNOHANG) != child) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
      throw ConfigError("--ranks " + std::to_string(ranks) +
                        ": mpirun was not found; install Open MPI (Debian: openmpi-bin)");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
}

}  // namespace saslm
