// wgmma.mma_async (PTX ISA 9.7.15): decodes the real 64-bit descriptors, computes at the wait, and leaves NaN
// in the accumulators until then. Checked: fence before the first product, agreement of the warpgroup,
// accumulators touched in flight, operands inside shared memory, ordinary stores without fence_async (race
// build).
//
// It cannot catch a misreading of the descriptor that it shares with the kernel: the layout tests on a GPU
// do.
#include <cmath>

#include "kernels/simt/collective.h"
#include "kernels/simt/cpu_sm90.h"
#include "kernels/simt/swizzle.h"

namespace saslm::simt {
namespace {

constexpr int kRows = 16, kDepth = 16;  // of one warp

// Address of element (mn, k) of an operand: canonical layouts, PTX ISA 9.7.15.5.1.2.
uint32_t element_address(uint64_t descriptor, int mn, int k, bool mn_contiguous) {
  const auto field = [&](int bit) { return uint32_t(descriptor >> bit & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  const int mode = int(descriptor >> 62);
  const int width = mode == 1 ? 128 : mode == 2 ? 64 : mode == 3 ? 32 : 16;  // bytes of a swizzled row
  uint32_t offset;
  if (!mn_contiguous)
    offset = uint32_t(mn / 8) * stride + uint32_t(mn % 8 * width) +
             (mode ? uint32_t(k * 2) : uint32_t(k / 8) * leading + uint32_t(k % 8 * 2));
  else if (mode)
    offset = uint32_t(mn / (width / 2)) * leading + uint32_t(mn % (width / 2) * 2 + k % 8 * width) +
             uint32_t(k / 8) * stride;
  else
    offset = uint32_t(mn / 8) * stride + uint32_t(mn % 8 * 2 + k % 8 * 16) + uint32_t(k / 8) * leading;
  return swizzled(start + offset, mode);
}

float element(const Wgmma& p, uint64_t descriptor, int mn, int k, bool mn_contiguous) {
  const SharedMemory& shared = machine().shared;
  const char* at = shared.pointer(element_address(descriptor, mn, k, mn_contiguous));
  if (!shared.contains(at, 2))
    fail("wgmma: element (" + std::to_string(mn) + ", " + std::to_string(k) +
             ") of an operand is outside shared memory",
         "check the descriptor's start and distances", p.at);
  race::async_read(at, 2, p.at);
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return float(bf16::from_bits(bits));
}

// The 16 rows that belong to one warp.
void execute(int group, const Wgmma& p, int warp) {
  std::vector<float> a(kRows * kDepth), b(size_t(kDepth * p.columns)), sums(size_t(p.columns));
  for (int r = 0; r < kRows; ++r)
    for (int k = 0; k < kDepth; ++k) a[size_t(r * kDepth + k)] = element(p, p.a, warp * kRows + r, k, false);
  for (int k = 0; k < kDepth; ++k)
    for (int n = 0; n < p.columns; ++n) b[size_t(k * p.columns + n)] = element(p, p.b, n, k, p.b_transposed);
  for (int r = 0; r < kRows; ++r) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int k = 0; k < kDepth; ++k)
      for (int n = 0; n < p.columns; ++n)
        sums[size_t(n)] += a[size_t(r * kDepth + k)] * b[size_t(k * p.columns + n)];
    for (int t = 0; t < 4; ++t) {
      const int in_group = warp * kWarp + r % 8 * 4 + t;
      for (Accumulator& acc : machine().threads[group * kWarpgroup + in_group].accumulators) {
        if (acc.registers != p.registers[in_group]) continue;
        for (int j = 0; j < p.columns / 8; ++j)
          for (int e = 0; e < 2; ++e) {
            float& x = acc.value[size_t(j * 4 + r / 8 * 2 + e)];
            x = (p.accumulate ? x : 0.0f) + sums[size_t(j * 8 + t * 2 + e)];
          }
      }
    }
  }
}

void check_descriptor(uint64_t descriptor, CallSite at) {
  if (descriptor >> 49 & 7)
    fail("wgmma: a descriptor with a base offset", "align the operand to 1024 bytes", at);
  const SharedMemory& shared = machine().shared;
  shared.check(shared.pointer(uint32_t(descriptor & 0x3fff) << 4), 16, 16, "a wgmma descriptor", at);
}

void open_accumulator(Thread& t, float* d, int count, int issue, CallSite at) {
  for (Accumulator& acc : t.accumulators) {
    if (acc.registers != d) continue;
    for (int i = 0; i < count; ++i)
      if (!std::isnan(d[i]))
        fail("wgmma: an accumulator was written while an earlier product on it is under way",
             "wgmma_wait first", at);
    acc.last_issue = issue;
    return;
  }
  t.accumulators.push_back({d, std::vector<float>(d, d + count), issue});
  std::fill(d, d + count, NAN);
}

}  // namespace

void wgmma_fence(CallSite at) {
  int unused = 0;
  collective("wgmma_fence", kFullMask, &unused, true, at, [](const Collective&, int) {});
  self().wgmma_fenced = true;
}

void wgmma_issue(float* d, int columns, uint64_t a, uint64_t b, bool accumulate, bool b_transposed,
                 CallSite at) {
  Machine& m = machine();
  Thread& t = self();
  if (m.thread_count % kWarpgroup)
    fail("wgmma in a block of " + std::to_string(m.thread_count) + " threads", "use whole warpgroups of 128",
         at);
  if (!t.wgmma_fenced)
    fail("wgmma without a wgmma_fence since its accumulators were last touched",
         "wgmma_fence before the first product", at);
  check_descriptor(a, at);
  check_descriptor(b, at);
  Warpgroup& group = m.warpgroups[t.rank / kWarpgroup];
  const int issue = t.wgmma_issued++;
  if (int(group.products.size()) == issue)
    group.products.push_back({{}, a, b, columns, accumulate, b_transposed, 0, at});
  Wgmma& p = group.products[size_t(issue)];
  if (p.a != a || p.b != b || p.accumulate != accumulate || p.b_transposed != b_transposed || !same(p.at, at))
    fail(
        "wgmma: the threads of a warpgroup give different descriptors, or come from different places, also " +
            text(p.at),
        "the call is .aligned: all 128 threads make the same one", at);
  open_accumulator(t, d, columns / 2, issue, at);
  p.registers[t.rank % kWarpgroup] = d;
  if (++p.issued == kWarpgroup) {
    group.complete = issue + 1;
    for (const int thread : group.waiting) make_ready(thread);
    group.waiting.clear();
  }
}

void wgmma_commit(CallSite) {
  self().wgmma_commits.push_back(self().wgmma_issued);
}

void wgmma_wait_groups(int unfinished, CallSite at) {
  Machine& m = machine();
  Thread& t = self();
  if (int(t.wgmma_commits.size()) <= unfinished) return;
  const int due = t.wgmma_commits[t.wgmma_commits.size() - 1 - size_t(unfinished)];
  const int number = t.rank / kWarpgroup, warp = t.warp % 4;
  Warpgroup& group = m.warpgroups[number];
  while (group.complete < due) {
    group.waiting.push_back(t.rank);
    wait("wgmma_wait (the warpgroup is incomplete)", at);
  }
  if (group.executed[warp] < due) {
    while (group.executed[warp] < due) execute(number, group.products[size_t(group.executed[warp]++)], warp);
    race::release(t.rank, m.warps[t.warp].wgmma_clock);
  }
  race::acquire(t.rank, m.warps[t.warp].wgmma_clock);
  std::erase_if(t.accumulators, [&](const Accumulator& acc) {
    if (acc.last_issue >= due) return false;
    std::copy(acc.value.begin(), acc.value.end(), acc.registers);
    return true;
  });
  t.wgmma_fenced = false;
}

}  // namespace saslm::simt
