#include "kernels/embedding.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

constexpr int64_t kPositions = 40;

template <class T>
struct EmbeddingCase {
  int64_t seq_len;
  Buffer<T> x, embed, pos, dx, dembed, dpos;
  Buffer<int32_t> tokens, scratch;

  EmbeddingCase(int64_t B, int64_t seq, int64_t V, int64_t C, int64_t gap = 3)
      : seq_len(seq),
        x(B * seq, C, gap),
        embed(V, C, gap),
        pos(kPositions, C, gap),
        dx(B * seq, C, gap),
        dembed(V, C, gap),
        dpos(kPositions, C, gap),
        tokens(B * seq),
        scratch(embedding_bwd_scratch(B * seq)) {
    embed.fill_normal("embed"), pos.fill_normal("pos"), dx.fill_normal("dx"), dembed.fill(1), dpos.fill(1);
    for (int64_t n = 0; n < B * seq; ++n)
      tokens[n] = int32_t(double(V) * std::pow(uniform(5, uint64_t(n)), 2));
  }
  EmbeddingFwd<T> fwd(int64_t start = 0) {
    return {.x = x.mat(),
            .tokens = tokens.vec(),
            .embed = embed.mat(),
            .pos = pos.mat(),
            .seq_len = seq_len,
            .start = start};
  }
  EmbeddingBwd<T> bwd() {
    return {.dembed = dembed.mat(),
            .dpos = dpos.mat(),
            .dx = dx.mat(),
            .tokens = tokens.vec(),
            .scratch = scratch.vec(),
            .seq_len = seq_len};
  }
};

TEST(Embedding, ByHand) {
  EmbeddingCase<float> k(1, 2, 3, 1);
  k.tokens[0] = 2, k.tokens[1] = 2, k.embed[2] = 10, k.pos[0] = 1, k.pos[1] = 2;
  cpu::embedding_fwd<float>({}, k.fwd());
  EXPECT_EQ(k.x[0], 11);
  EXPECT_EQ(k.x[1], 12);
  k.dx[0] = 3, k.dx[1] = 5;
  cpu::embedding_bwd<float>({}, k.bwd());
  EXPECT_EQ(k.dembed[2], 9);  // 1 + 3 + 5
  EXPECT_EQ(k.dembed[1], 1);
  EXPECT_EQ(k.dpos[1], 6);
  EXPECT_EQ(k.dpos[2], 1);
}

// Forward: one rounded sum. Backward: at most N rows on one element, each below 5.
template <class T>
void equals_formula(int64_t B, int64_t seq, int64_t V, int64_t C) {
  constexpr int64_t kStart = 3;
  EmbeddingCase<T> k(B, seq, V, C);
  cpu::embedding_fwd<T>({}, k.fwd(kStart));
  cpu::embedding_bwd<T>({}, k.bwd());
  Buffer<double> dembed(V, C), dpos(kPositions, C);
  dembed.fill(1), dpos.fill(1);
  for (int64_t n = 0; n < B * seq; ++n)
    for (int64_t c = 0; c < C; ++c) {
      const int64_t t = n % seq;
      const double wanted = double(k.embed(k.tokens[n], c)) + double(k.pos(kStart + t, c));
      ASSERT_NEAR(k.x(n, c), wanted, kEps<T> * std::abs(wanted));
      dembed(k.tokens[n], c) += double(k.dx(n, c));
      dpos(t, c) += double(k.dx(n, c));
    }
  const double tolerance = double(B * seq) * 5 * kEps<T>;
  for (int64_t i = 0; i < dembed.size(); ++i) ASSERT_NEAR(k.dembed[i], dembed[i], tolerance);
  for (int64_t i = 0; i < dpos.size(); ++i) ASSERT_NEAR(k.dpos[i], dpos[i], tolerance);
  EXPECT_TRUE(k.x.gaps_untouched() && k.dembed.gaps_untouched() && k.dpos.gaps_untouched());
}
TEST(Embedding, EqualsTheFormulaOnRaggedShapes) {
  for (const int64_t C : {1, 16, 37})
    for (const int64_t V : {1, 7, 64, 300}) {
      equals_formula<float>(3, 35, V, C);
      equals_formula<double>(1, 5, V, C);
    }
}

TEST(Embedding, WithoutPositionsRowsAreCopies) {
  EmbeddingCase<float> k(2, 3, 9, 20);
  EmbeddingFwd<float> a = k.fwd();
  a.pos = {};
  cpu::embedding_fwd<float>({}, a);
  for (int64_t n = 0; n < 6; ++n)
    for (int64_t c = 0; c < 20; ++c) EXPECT_EQ(k.x(n, c), k.embed(k.tokens[n], c));
  EmbeddingCase<float> b(2, 3, 9, 20);
  EmbeddingBwd<float> without = b.bwd();
  without.dpos = {};
  cpu::embedding_bwd<float>({}, without);
  cpu::embedding_bwd<float>({}, k.bwd());
  EXPECT_TRUE(b.dembed.same_bits(k.dembed));
}

TEST(Embedding, BackwardIsTheSlopeOfForward) {
  EmbeddingCase<double> k(2, 4, 6, 5);
  k.dembed.fill(0), k.dpos.fill(0);
  cpu::embedding_bwd<double>({}, k.bwd());
  const auto loss = [&] {
    cpu::embedding_fwd<double>({}, k.fwd());
    double sum = 0;
    for (int64_t i = 0; i < k.x.size(); ++i) sum += k.x[i] * k.dx[i];
    return sum;
  };
  test::expect_slopes("dembed", k.dembed, k.embed, loss);
  test::expect_slopes("dpos", k.dpos, k.pos, loss);
}

TEST(Embedding, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    EmbeddingCase<float> k(20, 40, 100, 33);
    cpu::embedding_fwd<float>({}, k.fwd());
    cpu::embedding_bwd<float>({}, k.bwd());
    return k;
  };
  EmbeddingCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
  EXPECT_TRUE(one.x.same_bits(two.x) && one.dembed.same_bits(two.dembed) && one.dpos.same_bits(two.dpos));
}

TEST(Embedding, WrongShapesAreNamed) {
  EmbeddingCase<float> k(2, 3, 9, 4);
  test::expect_shape_error(
      [&] {
        EmbeddingFwd<float> a = k.fwd(kPositions - 2);
        cpu::embedding_fwd<float>({}, a);
      },
      {"embedding_fwd: pos", "41 rows", "has 40"});
  test::expect_shape_error(
      [&] {
        EmbeddingFwd<float> a = k.fwd();
        a.seq_len = 4;
        cpu::embedding_fwd<float>({}, a);
      },
      {"embedding_fwd: seq_len", "6 rows", "is 4"});
  test::expect_shape_error(
      [&] {
        EmbeddingBwd<float> a = k.bwd();
        a.scratch = {};
        cpu::embedding_bwd<float>({}, a);
      },
      {"embedding_bwd: scratch", "absent"});
}

}  // namespace
}  // namespace saslm
