// A grid: its blocks one after another, their warps in turn.
#include <algorithm>
#include <chrono>
#include <climits>
#include <random>

#include "ptx/machine/instructions/control.h"
#include "ptx/machine/run/machine.h"

namespace ptx {
namespace {

constexpr size_t kRegisterAlign = 256;
constexpr uint32_t kMaxStatic = 48 * 1024, kMaxShared = 227 * 1024;
constexpr uint8_t kPoison = 0xff;

void check(const Launch& launch) {
  const Kernel& k = *launch.kernel;
  const uint64_t threads = launch.block.count();
  if (threads < 1 || threads > 1024) throw Fault("a block of " + std::to_string(threads) + " threads");
  if (k.max_threads != 0 && threads > uint64_t(k.max_threads))
    throw Fault("a block of " + std::to_string(threads) + " threads where .maxntid says " +
                std::to_string(k.max_threads) + ": " + k.pretty);
  const uint32_t static_bytes = k.static_shared - kSharedBase;
  if (static_bytes > kMaxStatic) throw Fault("more than 48 KiB of static shared memory");
  if (static_bytes + launch.dynamic_shared > kMaxShared) throw Fault("more than 227 KiB of shared memory");
  if (k.uses_dynamic_shared && k.static_shared > kDynamicShared)
    throw Fault("static shared memory beyond the place of dynamic");
}

// The arguments are memory that may be read while it lives.
class Arguments {
 public:
  Arguments(Allocations& all, const Launch& launch) : all_(all), at_(launch.params) {
    all_.add(at_, std::max<size_t>(launch.param_bytes, 1), false);
  }
  ~Arguments() { all_.remove(at_); }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

 private:
  Allocations& all_;
  const void* at_;
};

class Grid {
 public:
  Grid(Machine& machine, const Launch& launch);
  void run();
  const Block& block() const { return b_; }

 private:
  void make_warps();
  void begin_block(uint64_t index);
  void run_block();
  int run_warps();
  void help_or_fault(int done);

  Machine& machine_;
  const Kernel& k_;
  Block b_;
  std::vector<uint8_t> registers_;
  std::vector<size_t> order_;  // of warps
  std::mt19937 random_;
};

Grid::Grid(Machine& machine, const Launch& launch)
    : machine_(machine), k_(*launch.kernel), random_(machine.settings.schedule) {
  b_.machine = &machine;
  b_.k = &k_;
  b_.grid = launch.grid;
  b_.size = launch.block;
  b_.threads = int(launch.block.count());
  b_.static_end = k_.static_shared;
  b_.shared_end = kDynamicShared + launch.dynamic_shared;
  b_.dynamic_bytes = launch.dynamic_shared;
  b_.params = launch.params;
  const size_t bytes = std::max(b_.static_end, b_.shared_end);
  b_.shared.resize(bytes);
  b_.state.resize(bytes);
  if (machine.settings.race) b_.cells.resize(bytes / 2 + 1);
  make_warps();
  for (const Instr& in : k_.code) {
    in.range_begin = in.range_end = 0;
    in.executed = in.conflicts = in.sectors = in.wanted = 0;
  }
}

void Grid::make_warps() {
  const auto warps = size_t(b_.threads + kWarp - 1) / kWarp;
  const size_t stride = (k_.register_bytes + kRegisterAlign - 1) / kRegisterAlign * kRegisterAlign;
  registers_.assign(stride * warps + kRegisterAlign, kPoison);
  const auto address = reinterpret_cast<uintptr_t>(registers_.data());
  uint8_t* const first = registers_.data() + (kRegisterAlign - address % kRegisterAlign) % kRegisterAlign;
  b_.warps.resize(warps);
  for (size_t i = 0; i < warps; ++i) {
    order_.push_back(i);
    Warp& w = b_.warps[i];
    w.block = &b_;
    w.k = &k_;
    w.index = int(i);
    w.registers = first + stride * i;
    w.local_bytes = (k_.local_bytes + 15) / 16 * 16 + 16;
    for (const Constant& c : k_.constants)
      std::memcpy(w.registers + c.offset, c.bytes.data(), c.bytes.size());
  }
}

void Grid::begin_block(uint64_t index) {
  const Dim& g = b_.grid;
  b_.id = {uint32_t(index % g.x), uint32_t(index / g.x % g.y), uint32_t(index / g.x / g.y)};
  machine_.races.begin_block();
  std::fill(b_.shared.begin(), b_.shared.end(), kPoison);
  std::fill(b_.state.begin(), b_.state.end(), uint8_t(kUnwritten));
  std::fill(b_.cells.begin(), b_.cells.end(), SharedCell());
  for (Barrier& bar : b_.barriers) bar = Barrier();
  b_.mbarriers.clear();
  for (Warp& w : b_.warps) {
    const int lanes = std::min(b_.threads - w.index * kWarp, kWarp);
    w.live = kAllLanes >> (kWarp - lanes);
    w.exited = w.blocked = 0;
    std::fill(std::begin(w.pc), std::end(w.pc), k_.functions[0].begin);
    w.state = Warp::State::ready;
    w.local.assign(size_t(w.local_bytes) * kWarp, kPoison);
    w.clock.assign(b_.warps.size(), 0);
    w.clock[size_t(w.index)] = 1;
    w.steps = 0;
  }
}

void Grid::run() {
  machine_.races.begin_launch();
  const uint64_t blocks = b_.grid.count();
  for (uint64_t n = 0; n < blocks; ++n) {
    begin_block(machine_.settings.schedule % 2 != 0 ? blocks - 1 - n : n);
    if (n == 0) {
      set_special_registers(b_);
    } else {
      set_block_registers(b_);
    }
    run_block();
  }
}

void Grid::run_block() {
  const auto warps = int(b_.warps.size());
  while (true) {
    if (machine_.settings.schedule != 0) std::shuffle(order_.begin(), order_.end(), random_);
    const int ran = run_warps();
    int done = 0;
    for (const Warp& w : b_.warps) done += w.state == Warp::State::done;
    if (done == warps) return;
    if (ran == 0) help_or_fault(done);
  }
}

// Every warp that is ready has a turn. How many had.
int Grid::run_warps() {
  int ran = 0;
  for (const size_t i : order_) {
    Warp& w = b_.warps[i];
    if (w.state != Warp::State::ready) continue;
    run_turn(w, machine_.settings.schedule != 0 ? 1 + random_() % 400 : UINT64_MAX);
    if (w.state == Warp::State::done) end_copies(w);
    ++ran;
  }
  return ran;
}

// All wait. A barrier of all threads is complete when the rest has exited; else they wait for ever.
void Grid::help_or_fault(int done) {
  for (Barrier& bar : b_.barriers) {
    if (bar.waiting.empty() || bar.waiting[0]->barrier_instr->op[kBarThreads].width != 0) continue;
    if (bar.arrived < int(b_.warps.size()) - done) continue;
    machine_.findings.add(k_, bar.waiting[0]->barrier_instr, "BARRIER of the block while threads have exited",
                          "");
    return release(bar);
  }
  std::string s = "deadlock: ";
  for (const Warp& w : b_.warps)
    if (w.state == Warp::State::at_barrier)
      s += "warp " + std::to_string(w.index) + " at barrier " + std::to_string(w.barrier) + " (" +
           place(k_, *w.barrier_instr) + ") ";
  throw Fault(s);
}

}  // namespace

void run(Machine& machine, const Launch& launch) {
  const auto start = std::chrono::steady_clock::now();
  check(launch);
  const Arguments arguments(machine.allocations, launch);
  Grid grid(machine, launch);
  grid.run();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  machine.profiles[launch.kernel->pretty].add(grid.block(), took.count());
}

}  // namespace ptx
