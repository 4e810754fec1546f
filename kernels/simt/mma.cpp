// ldmatrix (PTX ISA 9.7.14.5.15) and mma.sync m16n8k16 bf16 (9.7.14.5.8). Layouts: cpu_mma.h.
//
// It cannot catch rounding: the tensor core sums in another order and width; compare with tolerances.
#include "kernels/simt/collective.h"
#include "kernels/simt/cpu_mma.h"

namespace saslm::simt {
namespace {

struct LoadRequest {
  uint32_t* r;
  const void* row;
};
struct MmaRequest {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};

float low_bf16(uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
float high_bf16(uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000u);
}

template <class Request>
const Request& of(const Collective& c, int lane) {
  return *static_cast<const Request*>(c.argument[lane]);
}

void load_one(const Collective& c, int first_thread, int matrix, bool transpose) {
  Machine& m = machine();
  Thread* const running = m.current;
  uint16_t element[8][8];
  for (int i = 0; i < 8; ++i) {
    const int lane = matrix * 8 + i;
    m.current = &m.threads[first_thread + lane];  // whose read it is
    race::read(of<LoadRequest>(c, lane).row, 16, c.at[lane]);
    std::memcpy(element[i], of<LoadRequest>(c, lane).row, 16);
  }
  m.current = running;
  for (int l = 0; l < kWarp; ++l) {
    const int g = l / 4, t = l % 4 * 2;
    const uint16_t low = transpose ? element[t][g] : element[g][t];
    const uint16_t high = transpose ? element[t + 1][g] : element[g][t + 1];
    of<LoadRequest>(c, l).r[matrix] = low | uint32_t{high} << 16;
  }
}

void multiply(const Collective& c, int) {
  float a[16][16], b[16][8], d[16][8] = {};
  for (int l = 0; l < kWarp; ++l) {
    const MmaRequest& own = of<MmaRequest>(c, l);
    const int g = l / 4, t = l % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      const int row = g + i % 2 * 8, k = t + i / 2 * 8;
      a[row][k] = low_bf16(own.a[i]);
      a[row][k + 1] = high_bf16(own.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[t + i * 8][g] = low_bf16(own.b[i]);
      b[t + i * 8 + 1][g] = high_bf16(own.b[i]);
    }
  }
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 8; ++n) d[row][n] += a[row][k] * b[k][n];
  for (int l = 0; l < kWarp; ++l) {
    float* own = of<MmaRequest>(c, l).d;
    const int g = l / 4, t = l % 4 * 2;
    own[0] += d[g][t];
    own[1] += d[g][t + 1];
    own[2] += d[g + 8][t];
    own[3] += d[g + 8][t + 1];
  }
}

}  // namespace

void load_matrices(uint32_t* r, const void* row, int count, bool transpose, CallSite at) {
  if (self().lane < count * 8) machine().shared.check(row, 16, 16, "a row of ldmatrix", at);
  LoadRequest mine{r, row};
  collective(transpose ? "ldmatrix_trans" : "ldmatrix", kFullMask, &mine, true, at,
             [=](const Collective& c, int first) {
               for (int matrix = 0; matrix < count; ++matrix) load_one(c, first, matrix, transpose);
             });
}

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, CallSite at) {
  MmaRequest mine{d, a, {b0, b1}};
  collective("mma_m16n8k16", kFullMask, &mine, true, at, multiply);
}

}  // namespace saslm::simt
