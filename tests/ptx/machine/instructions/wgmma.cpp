// wgmma.mma_async m64nNk16, bf16, both matrices in shared memory (PTX ISA, "Asynchronous Warpgroup Level
// Matrix Instructions"). Done at once when issued: wgmma.fence, commit_group and wait_group do nothing, and
// whether they are where they must be is not checked.
//
// A warp computes rows 16 (warp % 4)..: its part of D is that of mma, for N / 8 neighbouring tiles of
// columns. Descriptor: address >> 4 in bits 0..13, leading byte offset >> 4 in 16..29, stride byte offset >>
// 4 in 32..45, swizzle in 62..63 (1: 128 bytes, 2: 64, 3: 32). Addresses end at 256 KiB.
#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/half.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

constexpr uint32_t kDepth = 16;  // K

struct SharedMatrix {
  uint32_t start, leading, stride;
  int swizzle;
  bool mn_major;
};

SharedMatrix matrix(Warp& w, const Instr& in, const Operand& descriptor, bool mn_major) {
  const auto* const v = w.at<uint64_t>(descriptor);
  for (int l = 1; l < kWarp; ++l)
    if (v[l] != v[0]) w.fault(in, l, "wgmma: descriptors differ between lanes");
  const auto field = [&](int shift) { return uint32_t(v[0] >> shift & 0x3fff) << 4; };
  return {field(0), field(16), field(32), int(v[0] >> 62), mn_major};
}

// Where element (mn, k) lies before the swizzle. In CUTLASS' terms (mma_sm90_desc.hpp, in units of 16 bytes):
//   K-major  SW128: ((8, n), (T, 2)) : ((8T, SBO), (1, T))            a row of 128 bytes holds 64 k of one mn
//   MN-major SW128: ((T, 8, m), (8, k)) : ((1, T, LBO), (8T, SBO))   a row of 128 bytes holds 64 mn of one k
uint32_t element_offset(const SharedMatrix& m, uint32_t mn, uint32_t k) {
  const uint32_t row = m.swizzle == 0 ? 16 : 256u >> m.swizzle;
  if (!m.mn_major) {
    const uint32_t first = (mn / 8) * m.stride + (mn % 8) * row;
    return m.swizzle != 0 ? first + k * 2 : first + (k / 8) * m.leading + (k % 8) * 2;
  }
  const uint32_t per_row = row / 2;
  if (m.swizzle == 0) return (mn / 8) * m.stride + (mn % 8) * 2 + (k % 8) * 16 + (k / 8) * m.leading;
  return (mn / per_row) * m.leading + (mn % per_row) * 2 + (k % 8) * row + (k / 8) * m.stride;
}

float element(Warp& w, const Instr& in, const SharedMatrix& m, uint32_t mn, uint32_t k) {
  const Block& b = *w.block;
  uint32_t at = m.start + element_offset(m, mn, k);
  const uint32_t chunks = m.swizzle == 0 ? 0 : (8u >> (m.swizzle - 1)) - 1;  // 7, 3, 1
  at ^= (at >> 7 & chunks) << 4;
  if (at < kSharedBase || at + 2 > b.shared_end)
    w.fault(in, 0, "wgmma reads outside of shared memory: " + hex(at));
  if (b.state[at] != kWritten) w.find(in, "UNINITIALISED shared memory read by wgmma", hex(at));
  uint16_t v;
  std::memcpy(&v, &b.shared[at], 2);
  return from_bf16(v);
}

enum WgmmaMode : uint8_t { kTransposedB = 1, kTransposedA = 2 };

// The list: N / 2 of d, descriptors of a and b, whether d is added to.
void run_wgmma(Warp& w, const Instr& in, uint32_t) {
  const auto& list = w.k->lists[size_t(in.extra)];
  const size_t nd = list.size() - 3;
  const uint32_t columns = uint32_t(nd) * 2, first = uint32_t(w.index % 4) * 16;
  const SharedMatrix a = matrix(w, in, list[nd], in.mode & kTransposedA);
  const SharedMatrix b = matrix(w, in, list[nd + 1], in.mode & kTransposedB);
  const bool accumulate = w.predicate(list[nd + 2]) & 1;
  for (uint32_t c = 0; c < columns; ++c)
    for (uint32_t r = 0; r < 16; ++r) {
      const size_t i = (c / 8) * 4 + (r / 8) * 2 + c % 2;
      uint32_t& d = w.at<uint32_t>(list[i])[(r % 8) * 4 + (c % 8) / 2];
      float sum = accumulate ? from_slot<float>(d) : 0.0f;
      for (uint32_t k = 0; k < kDepth; ++k)
        sum = __builtin_fmaf(element(w, in, a, first + r, k), element(w, in, b, c, k), sum);
      d = to_slot<float>(sum);
    }
}

void run_nothing(Warp&, const Instr&, uint32_t) {}

// wgmma.mma_async d, a-desc, b-desc, scale-d, 1, 1, trans-a, trans-b
void decode_wgmma(Decoding& d) {
  d.in.kind = Kind::sync;
  d.in.counted = Class::other;
  const auto what = d.s.parts.at(1);
  if (what == "fence" || what == "commit_group" || what == "wait_group") {
    d.in.execute = run_nothing;
    return;
  }
  d.refuse_unless(what == "mma_async" && d.s.op.find("k16.f32.bf16.bf16") != std::string_view::npos);
  std::vector<Operand> list;
  for (const Argument& item : d.arg(0).items) list.push_back(d.parser.destination(item, 4));
  d.refuse_unless(!list.empty() && list.size() % 4 == 0);
  list.push_back(d.parser.source(d.arg(1), 8));
  list.push_back(d.parser.source(d.arg(2), 8));
  list.push_back(d.parser.source(d.arg(3), 1));
  d.refuse_unless(d.arg(4).text == "1" && d.arg(5).text == "1");  // no negation
  d.in.mode = uint8_t((d.arg(6).text == "1" ? kTransposedA : 0) | (d.arg(7).text == "1" ? kTransposedB : 0));
  auto& lists = d.parser.kernel().lists;
  d.in.extra = int32_t(lists.size());
  lists.push_back(std::move(list));
  d.in.counted = Class::mma;
  d.in.execute = run_wgmma;
}

}  // namespace

void add_wgmma(Decoders& all) {
  all["wgmma"] = decode_wgmma;
}

}  // namespace ptx
