#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "comm/communicator.h"
#include "comm/tcp.h"
#include "core/error.h"

namespace saslm {
namespace {

constexpr int kMostRanks = 1 << 20;

std::string text_in(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? "" : text;
}
bool is_set(const char* variable) {
  return !text_in(variable).empty();
}

std::string to_unset();

[[noreturn]] void refuse(const char* variable, const std::string& wanted) {
  throw ConfigError("the environment's " + std::string(variable) + " should be " + wanted + ", is " +
                    (is_set(variable) ? text_in(variable) : "not set") +
                    "; if no launcher starts several ranks, unset " + to_unset());
}

// Parses a number at the start of `text` and removes it from `text`; -1 if there is none.
int64_t take_number(std::string_view& text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return -1;
  text.remove_prefix(size_t(end - text.data()));
  return value;
}

int number_in(const char* variable, int least, int most, const char* what) {
  const std::string whole = text_in(variable);
  std::string_view text = whole;
  const int64_t value = take_number(text);
  if (value < least || value > most || !text.empty())
    refuse(variable, std::string(what) + " from " + std::to_string(least) + " to " + std::to_string(most));
  return int(value);
}

// The node's number of tasks from Slurm's list "2(x3),1": three nodes with two, one with one.
int slurm_tasks_of_node(const char* variable, int node) {
  const std::string whole = text_in(variable);
  for (std::string_view text = whole; !text.empty(); text.remove_prefix(text.starts_with(',') ? 1 : 0)) {
    const int64_t tasks = take_number(text);
    int64_t nodes = 1;
    if (text.starts_with("(x")) {
      text.remove_prefix(2);
      nodes = take_number(text);
      if (!text.starts_with(')')) break;
      text.remove_prefix(1);
    }
    if (tasks < 1 || tasks > kMostRanks || nodes < 1 || !(text.empty() || text.starts_with(','))) break;
    if ((node -= int(std::min<int64_t>(nodes, node + 1))) < 0) return int(tasks);
  }
  refuse(variable, "the tasks of each node, such as 2(x3),1, this node's among them");
}

// The first host of Slurm's list "node[003-005,9],other".
std::string first_slurm_host(const char* variable) {
  std::string host;
  bool inside = false, first = true;  // in brackets; at their first entry
  for (const char c : text_in(variable)) {
    if (c == '[' || c == ']')
      inside = c == '[', first = true;
    else if (c == ',' && !inside)
      break;
    else if (inside && (c == '-' || c == ','))
      first = false;
    else if (first)
      host += c;
  }
  if (host.empty() || inside) refuse(variable, "a list of hosts");
  return host;
}

void add_said_by(LaunchedAs& as, std::initializer_list<const char*> variables) {
  for (const char* const one : variables)
    if (is_set(one)) as.said_by += (as.said_by.empty() ? "" : ", ") + std::string(one) + "=" + text_in(one);
}

void meet_at_master(LaunchedAs& as) {
  as.master_host = text_in("MASTER_ADDR");
  if (as.master_host.empty()) refuse("MASTER_ADDR", "the machine of rank 0");
  as.master_port = number_in("MASTER_PORT", 1, 65534, "a port");
  // torchrun's own process may listen at that port; this variable says so.
  if (text_in("TORCHELASTIC_USE_AGENT_STORE") == "True") ++as.master_port;
  if (is_set("SASLM_LISTENER")) as.listener = number_in("SASLM_LISTENER", 0, 1 << 20, "a descriptor");
  add_said_by(as, {"MASTER_ADDR", "MASTER_PORT"});
}

// Slurm names the hosts but no port. Each job step gets its own port, below the range that systems assign
// automatically.
void meet_on_first_host(LaunchedAs& as) {
  as.master_host = is_set("MASTER_ADDR") ? text_in("MASTER_ADDR") : first_slurm_host("SLURM_STEP_NODELIST");
  add_said_by(as, {"SLURM_STEP_NODELIST", "MASTER_ADDR", "MASTER_PORT"});
  if (is_set("MASTER_PORT")) {
    as.master_port = number_in("MASTER_PORT", 1, 65535, "a port");
    return;
  }
  const int64_t job = number_in("SLURM_JOB_ID", 0, INT32_MAX, "a job's number");
  const int64_t step = number_in("SLURM_STEP_ID", 0, INT32_MAX, "a step's number");
  as.master_port = int(20000 + (job * 16 + step) % 12000);
}

void meet_by_mpi(LaunchedAs&) {}

void share_by_variables(const struct Launcher&, LaunchedAs&);
void share_as_slurm_says(const struct Launcher&, LaunchedAs&);

struct Launcher {
  const char* sign;  // a variable that only this launcher sets, of those from here down
  const char *rank, *size, *local_rank, *local_size;
  void (*meet)(LaunchedAs&);
  void (*share_machine)(const Launcher&, LaunchedAs&) = share_by_variables;
};
constexpr Launcher kLaunchers[] = {
    // torchrun, `saslm train --ranks`, or set by hand
    {"RANK", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", meet_at_master},
    // Open MPI's mpirun, which may have been started by srun
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", meet_by_mpi},
    // MPICH's mpiexec, likewise; srun can set PMI_RANK too
    {"MPI_LOCALNRANKS", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", meet_by_mpi},
    // srun: a batch script has SLURM_PROCID too, but is no step
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
     "SLURM_STEP_TASKS_PER_NODE", meet_on_first_host, share_as_slurm_says},
    // others that speak MPICH's protocol
    {"PMI_RANK", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", meet_by_mpi},
};

// Without these variables all ranks are on this machine if rank 0's address is loopback; otherwise MPI must
// tell.
void share_by_variables(const Launcher& l, LaunchedAs& as) {
  const bool all_here = as.master_host.empty() || is_loopback(as.master_host);
  as.local_size = all_here && !is_set(l.local_size)
                      ? as.size
                      : number_in(l.local_size, 1, as.size, "the number of ranks on this machine,");
  as.local_rank = all_here && !is_set(l.local_rank)
                      ? as.rank % as.local_size
                      : number_in(l.local_rank, 0, as.local_size - 1, "a rank on this machine");
}

void share_as_slurm_says(const Launcher& l, LaunchedAs& as) {
  as.local_size =
      slurm_tasks_of_node(l.local_size, number_in("SLURM_NODEID", 0, kMostRanks, "a node's number"));
  if (as.local_size > as.size)
    refuse(l.local_size, "at most " + std::to_string(as.size) + " tasks on this node");
  as.local_rank = number_in(l.local_rank, 0, as.local_size - 1, "a rank on this machine");
}

bool speaks(const Launcher& l) {
  return is_set(l.sign) && is_set(l.rank) && is_set(l.size);
}

// The variables of all launchers that are set: without the first one's, the next one's would count.
std::string to_unset() {
  std::set<std::string> names;
  for (const Launcher& launcher : kLaunchers)
    if (speaks(launcher)) names.insert({launcher.sign, launcher.rank, launcher.size});
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

std::optional<SecretKey> secret_in_environment() {
  if (!is_set(kSecretVariable)) return std::nullopt;
  const std::optional<SecretKey> secret = secret_of(text_in(kSecretVariable));
  if (!secret)  // its value is not shown
    throw ConfigError(std::string("the environment's ") + kSecretVariable + " should be of " +
                      std::to_string(kShortestSecret) +
                      " characters or more, the same for all ranks of a run: openssl rand -hex 32 draws one");
  return secret;
}

}  // namespace

LaunchedAs launched_as() {
  for (const Launcher& launcher : kLaunchers) {
    if (!speaks(launcher)) continue;
    LaunchedAs as;
    as.to_unset = to_unset();
    add_said_by(as, {launcher.rank, launcher.size});
    as.size = number_in(launcher.size, 1, kMostRanks, "a number of ranks");
    as.rank = number_in(launcher.rank, 0, as.size - 1, "a rank");
    as.launched = as.size > 1 || launcher.meet == meet_by_mpi;
    if (as.size == 1) return as;
    as.secret = secret_in_environment();
    launcher.meet(as);
    launcher.share_machine(launcher, as);
    return as;
  }
  return {};
}

}  // namespace saslm
