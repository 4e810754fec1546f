// ldmatrix, stmatrix, mma of a warp (PTX ISA, "Warp Level Matrix Instructions").
//
// With g = lane / 4, t = lane % 4 a lane holds, of
//   8x8 of 16 bits (ldmatrix):  row g, columns 2t, 2t + 1; with .trans of the transposed matrix
//   A of mma, 16 x K:           a0 (g, 2t..), a1 (g + 8, 2t..), a2 (g, 2t + 8..), a3 (g + 8, 2t + 8..)
//   B, K x 8:                   b0 rows 2t.., b1 rows 2t + 8..; column g
//   C, D, 16 x 8, float:        0, 1: (g, 2t..); 2, 3: (g + 8, 2t..)
// K is 16, or 8 without a2, a3, b1. Sums are float, in the order of k; with Settings::rough as measured on
// tensor cores.
#include <climits>
#include <cmath>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/half.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/run/conflicts.h"

namespace ptx {
namespace {

constexpr int kRowBytes = 16;

// The row of 8 numbers whose address lane 8 j + r holds.
uint8_t* matrix_row(Warp& w, const Instr& in, const Addresses& a, int lane, Access access) {
  return shared_memory(w, in, lane, shared_offset(in, a.of[lane]), kRowBytes, access);
}

void run_ldmatrix(Warp& w, const Instr& in, uint32_t) {  // mode: 1 transposed
  const Addresses a = addresses(w, in);
  if (w.settings().conflicts)
    for (int j = 0; j < in.elements; ++j) count_shared(in, 0xffu << (8 * j), a, kRowBytes);
  uint16_t m[4][8][8];
  for (int j = 0; j < in.elements; ++j)
    for (int r = 0; r < 8; ++r)
      std::memcpy(m[j][r], matrix_row(w, in, a, 8 * j + r, Access::read), kRowBytes);
  for (int j = 0; j < in.elements; ++j) {
    auto* const d = w.at<uint32_t>(in.op[j]);
    for (int l = 0; l < kWarp; ++l) {
      const int r = l / 4, c = 2 * (l % 4);
      const uint16_t low = in.mode ? m[j][c][r] : m[j][r][c],
                     high = in.mode ? m[j][c + 1][r] : m[j][r][c + 1];
      d[l] = uint32_t(low) | uint32_t(high) << 16;
    }
  }
}

void run_stmatrix(Warp& w, const Instr& in, uint32_t) {
  const Addresses a = addresses(w, in);
  for (int j = 0; j < in.elements; ++j) {
    const auto* const s = w.at<uint32_t>(in.op[j]);
    for (int r = 0; r < 8; ++r) {
      uint16_t row[8];
      for (int c = 0; c < 8; ++c) {
        const int g = in.mode ? c : r, column = in.mode ? r : c;
        row[c] = uint16_t(s[g * 4 + column / 2] >> (16 * (column % 2)));
      }
      std::memcpy(matrix_row(w, in, a, 8 * j + r, Access::write), row, kRowBytes);
    }
  }
}

struct Tile {
  float a[16][16], b[16][8], d[16][8];
};

// The list of operands: 4 of d, K/4 of a, K/8 of b, 4 of c.
template <class Number>
void gather(Warp& w, const Instr& in, Tile& t, Number number) {
  const auto& list = w.k->lists[size_t(in.extra)];
  const int na = in.elements / 4, nb = in.elements / 8;
  const uint32_t* r[14];
  for (size_t i = 0; i < list.size(); ++i) r[i] = w.at<uint32_t>(list[i]);
  const uint32_t *const *a = r + 4, *const *b = a + na, *const *c = b + nb;
  for (int l = 0; l < kWarp; ++l) {
    const int g = l / 4, col = 2 * (l % 4);
    for (int i = 0; i < na; ++i) {
      float* const at = &t.a[g + (i & 1) * 8][col + (i >> 1) * 8];
      at[0] = number(a[i][l]);
      at[1] = number(a[i][l] >> 16);
    }
    for (int i = 0; i < nb; ++i) {
      t.b[col + i * 8][g] = number(b[i][l]);
      t.b[col + i * 8 + 1][g] = number(b[i][l] >> 16);
    }
    for (int i = 0; i < 4; ++i) t.d[g + (i >> 1) * 8][col + (i & 1)] = from_slot<float>(c[i][l]);
  }
}

// As measured on tensor cores (Fasi et al. 2021): of 8 products and the addend the exponents are brought to
// the greatest, what lies below 24 bits (and one more) is cut off, and the sum is cut to 24 bits.
float rough_sum(const double (&terms)[9]) {
  int top = INT_MIN;
  double plain = 0;
  for (const double x : terms) {
    plain += x;
    if (x != 0 && std::isfinite(x)) top = std::max(top, std::ilogb(x));
  }
  if (!std::isfinite(plain) || top == INT_MIN) return float(plain);
  const auto cut = [](double x, int unit) { return std::ldexp(std::trunc(std::ldexp(x, -unit)), unit); };
  double sum = 0;
  for (const double x : terms) sum += cut(x, top - 24);
  return float(sum == 0 ? sum : cut(sum, std::ilogb(sum) - 23));
}

void multiply_roughly(Tile& t, int depth) {
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c)
      for (int k0 = 0; k0 < depth; k0 += 8) {
        double terms[9];
        for (int k = 0; k < 8; ++k) terms[k] = double(t.a[r][k0 + k]) * double(t.b[k0 + k][c]);
        terms[8] = t.d[r][c];
        t.d[r][c] = rough_sum(terms);
      }
}

void multiply(Tile& t, int depth) {
  for (int r = 0; r < 16; ++r)
    for (int k = 0; k < depth; ++k)
      for (int c = 0; c < 8; ++c) t.d[r][c] = __builtin_fmaf(t.a[r][k], t.b[k][c], t.d[r][c]);
}

void run_mma(Warp& w, const Instr& in, uint32_t) {  // elements: K; mode: 1 f16
  Tile t;
  if (in.mode) {
    gather(w, in, t, [](uint32_t v) { return from_f16(uint16_t(v)); });
  } else {
    gather(w, in, t, [](uint32_t v) { return from_bf16(uint16_t(v)); });
  }
  if (w.settings().rough != 0) {
    multiply_roughly(t, in.elements);
  } else {
    multiply(t, in.elements);
  }
  for (int i = 0; i < 4; ++i) {
    auto* const d = w.at<uint32_t>(w.k->lists[size_t(in.extra)][size_t(i)]);
    for (int l = 0; l < kWarp; ++l) d[l] = to_slot<float>(t.d[l / 4 + (i >> 1) * 8][2 * (l % 4) + (i & 1)]);
  }
}

void decode_matrix_access(Decoding& d) {
  const bool store = d.base == "stmatrix";
  d.in.kind = Kind::sync;
  d.in.counted = Class::ldmatrix;
  d.state_space();
  d.refuse_unless(d.s.has("m8n8") && d.type == "b16" &&
                  (d.in.space == Space::shared || d.in.space == Space::generic));
  d.in.elements = d.s.has("x4") ? 4 : d.s.has("x2") ? 2 : 1;
  d.in.mode = d.s.has("trans");
  d.parser.address(d.arg(store ? 0 : 1), d.in);
  const auto& items = d.arg(store ? 1 : 0).items;
  if (items.size() != d.in.elements) d.parser.fail("other number of registers", d.s.op);
  for (size_t i = 0; i < items.size(); ++i)
    d.in.op[i] = store ? d.parser.source(items[i], 4) : d.parser.destination(items[i], 4);
  d.in.execute = store ? run_stmatrix : run_ldmatrix;
}

void decode_mma(Decoding& d) {
  const auto types = [&](std::string_view t) { return d.s.op.find(t) != std::string_view::npos; };
  const bool f16 = types("row.col.f32.f16.f16.f32");
  d.refuse_unless(d.s.has("m16n8k16") || d.s.has("m16n8k8"));
  d.refuse_unless(f16 || types("row.col.f32.bf16.bf16.f32"));
  d.in.kind = Kind::sync;
  d.in.counted = Class::mma;
  d.in.elements = d.s.has("m16n8k16") ? 16 : 8;
  d.in.mode = f16;
  std::vector<Operand> list;
  const size_t sizes[] = {4, d.in.elements / 4u, d.in.elements / 8u, 4};
  for (size_t i = 0; i < 4; ++i) {
    const Argument& a = d.arg(i);
    const auto items = a.type == Argument::word ? std::vector<Argument>{a} : a.items;
    if (items.size() != sizes[i]) d.parser.fail("other number of registers", d.s.op);
    for (const Argument& item : items)
      list.push_back(i == 0 ? d.parser.destination(item, 4) : d.parser.source(item, 4));
  }
  auto& lists = d.parser.kernel().lists;
  d.in.extra = int32_t(lists.size());
  lists.push_back(std::move(list));
  d.in.execute = run_mma;
}

}  // namespace

void add_matrices(Decoders& all) {
  all["ldmatrix"] = all["stmatrix"] = decode_matrix_access;
  all["mma"] = decode_mma;
}

}  // namespace ptx
