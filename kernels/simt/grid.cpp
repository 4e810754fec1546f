// launch() on the CPU: the blocks of a grid one after another, each on the same machine.
#include <algorithm>
#include <numeric>

#include "kernels/simt/machine.h"

namespace saslm::simt {

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

Machine::Machine() : threads(new Thread[kMaxThreads]) {
  for (int t = 0; t < kMaxThreads; ++t) {
    threads[t].rank = t;
    threads[t].lane = t % kWarp;
    threads[t].warp = t / kWarp;
    threads[t].fiber.give_stack(stacks.bottom(size_t(t)), FiberStacks::stack_bytes());
  }
}

Machine& machine() {
  static Machine the_machine;
  return the_machine;
}

void Thread::begin() {
  exited = wgmma_fenced = false;
  waits_in = nullptr;
  copies.clear();
  copy_groups.clear();
  wgmma_issued = 0;
  wgmma_commits.clear();
  accumulators.clear();
}

namespace {

void check_launch(const LaunchGrid& grid, dim3 block, size_t shared_bytes, size_t shared_limit) {
  const std::string who = std::string(grid.launcher) + " at " + text(grid.at);
  if (machine().grid)
    throw Fault("SIMT layer: " + who + " launches from inside a kernel; launch from host code");
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (!grid.launchable() || threads == 0 || threads > kMaxThreads || block.z > 64)
    throw Fault(
        "SIMT layer: " + who + " launches a grid " + grid.text() + " of blocks of " +
        std::to_string(block.x) + " x " + std::to_string(block.y) + " x " + std::to_string(block.z) +
        " threads; a grid has 1 to 2^31-1, 65535 and 65535 blocks, a block 1 to 1024 threads and z <= 64");
  if (shared_bytes > shared_limit)
    throw Fault("SIMT layer: " + who + " asks for " + std::to_string(shared_bytes) +
                " bytes of dynamic shared memory; a block has " + std::to_string(shared_limit));
}

void begin_block(Machine& m, size_t shared_bytes) {
  for (int w = 0; w < kMaxWarps; ++w) {
    const int lanes = std::clamp(m.thread_count - w * kWarp, 0, kWarp);
    m.warps[w].members = m.warps[w].ready = lanes == kWarp ? kFullMask : (1u << lanes) - 1;
    m.warps[w].open.clear();
    m.warps[w].wgmma_clock.clear();
  }
  m.ready_warps = m.warp_count() == kWarp ? kFullMask : (1u << m.warp_count()) - 1;
  for (Barrier& b : m.barriers) {
    b.open = false;
    b.clock.clear();
  }
  m.mbarriers.clear();
  m.bulk_copies.clear();
  for (Warpgroup& g : m.warpgroups) g = {};
  race::begin_block(m.thread_count);
  m.shared.begin_block(shared_bytes);
}

// Nothing orders the blocks of a grid, so neither does the layer.
std::vector<int64_t> block_order(Machine& m, int64_t blocks) {
  std::vector<int64_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (m.options.order == Order::reverse) std::reverse(order.begin(), order.end());
  if (m.options.order == Order::random) std::shuffle(order.begin(), order.end(), m.random);
  return order;
}

}  // namespace

void run_grid(const LaunchGrid& grid, dim3 block, size_t shared_bytes, const LaunchOptions& options,
              void (*body)(void*), void* context) {
  check_launch(grid, block, shared_bytes, options.device.shared_bytes);
  Machine& m = machine();
  m.options = options;
  m.random.seed(options.seed);
  m.grid = &grid;
  m.body = body;
  m.context = context;
  m.thread_count = static_cast<int>(block.x * block.y * block.z);
  blockDim = block;
  gridDim = dim3(unsigned(grid.x), unsigned(grid.y), unsigned(grid.z));
  for (int t = 0; t < m.thread_count; ++t)
    m.threads[t].index = {unsigned(t) % block.x, unsigned(t) / block.x % block.y,
                          unsigned(t) / (block.x * block.y)};

  race::begin_grid();
  for (const int64_t i : block_order(m, grid.x * grid.y * grid.z)) {
    blockIdx = {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / (grid.x * grid.y))};
    begin_block(m, shared_bytes);
    run_block_threads();
    if (!m.failure.empty()) break;
  }
  m.grid = nullptr;
  if (!m.failure.empty()) throw Fault(m.failure);
}

}  // namespace saslm::simt
