#include "app/plot_script.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <vector>

namespace saslm {
namespace {

// Python runs isolated (-I): it imports nothing from the current folder or PYTHONPATH (an empty part of which
// also means the current folder). The user's own packages are added last.
constexpr const char* kFindPackages = R"(
import os, site, sys
try:
    import matplotlib
except ImportError:
    if os.path.isdir(site.getusersitepackages()):
        site.addsitedir(site.getusersitepackages())
    import matplotlib
)";

// Runs a program in the root folder, with its output discarded or on stderr. Returns its exit status; -1 if
// it cannot be started or was killed.
int run_program(const std::vector<std::string>& arguments, bool quiet) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, "/");  // matplotlib reads settings from the current folder
  if (quiet) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);  // stdout is for results
  posix_spawnattr_t attributes;  // unblock signals: a comparison blocks its stop signals
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return -1;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The first python with matplotlib: the user's, or the distribution's; "" if neither has it.
std::string find_python() {
  for (const char* python : {"python3", "/usr/bin/python3"})
    if (run_program({python, "-I", "-c", kFindPackages}, /*quiet=*/true) == 0) return python;
  return "";
}

}  // namespace

std::string plot_comparison(const std::string& dir) {
  const std::string python = find_python();
  if (python.empty())
    return "no plots: they need python3 with matplotlib (Debian: python3-matplotlib); install it and repeat "
           "the command with --report-only";
  const std::string folder = std::filesystem::absolute(dir).string();
  const int status =
      run_program({python, "-I", "-c", std::string(kFindPackages) + kPlotSource, folder}, /*quiet=*/false);
  if (status != 0) return "no plots: " + python + " failed (exit " + std::to_string(status) + ")";
  return "report: " + dir + "/report.html";
}

}  // namespace saslm
