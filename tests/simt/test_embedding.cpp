#include "core/error.h"
#include "kernels/embedding.h"
#include "simt/views.h"

namespace saslm {
namespace {

constexpr unsigned kAll = ~0u;

struct Shape {
  int64_t B, T, V, C;
  bool has_pos = true;
  int64_t gap = 0;   // elements between the rows of x and dx
  unsigned odd = 0;  // views that start one element late, by the bits of View
};
enum View { kX, kEmbed, kPos, kDx, kDembed, kDpos, kViews };

// One of all; one token in all rows, over several windows; packs with several tiles of channels; unaligned;
// two digits of the token; two rounds of a warp's share in the sort.
const Shape kShapes[] = {{1, 1, 1, 1},
                         {3, 70, 1, 5},
                         {2, 75, 5, 136},
                         {2, 40, 9, 64, false},
                         {1, 33, 4, 48, true, 0, kAll},
                         {2, 20, 7, 24, true, 4},
                         {1, 150, 300, 8, false},
                         {2, 610, 40, 3}};

template <class T>
class Embeddings {
 public:
  explicit Embeddings(const Shape& shape)
      : s_(shape),
        tokens_(N()),
        x_(N() * (s_.C + s_.gap) + 1),
        embed_(s_.V * s_.C + 1),
        pos_(positions() * s_.C + 1),
        dx_(x_.size()),
        dembed_(s_.V * s_.C + 1),
        dpos_(positions() * s_.C + 1),
        scratch_(embedding_bwd_scratch(N())) {
    std::mt19937 random(7);
    for (int64_t i = 0; i < N(); ++i)  // few of them often, as in text
      tokens_[i] = int32_t(double(s_.V) * std::pow(std::uniform_real_distribution<double>(0, 1)(random), 3));
    embed_.draw(1), pos_.draw(2), dx_.draw(3);
    x_.fill(kStart), dembed_.fill(kStart), dpos_.fill(kStart);
  }

  template <class S>
  EmbeddingFwd<S> fwd() {
    return {.x = mat<S>(x_, kX),
            .tokens = tokens_.template vec<int32_t>(),
            .embed = embed_.template mat<S>(s_.V, s_.C, 0, start(kEmbed)),
            .pos = s_.has_pos ? pos_.template mat<S>(positions(), s_.C, 0, start(kPos)) : Mat<S>{},
            .seq_len = s_.T,
            .start = kFirstPosition};
  }
  template <class S>
  EmbeddingBwd<S> bwd() {
    return {.dembed = dembed_.template mat<Accum<S>>(s_.V, s_.C, 0, start(kDembed)),
            .dpos = s_.has_pos ? dpos_.template mat<Accum<S>>(positions(), s_.C, 0, start(kDpos))
                               : Mat<Accum<S>>{},
            .dx = mat<S>(dx_, kDx),
            .tokens = tokens_.template vec<int32_t>(),
            .scratch = scratch_.template vec<int32_t>(),
            .seq_len = s_.T};
  }

  void run_fwd() {
    cpu::embedding_fwd<double>({}, fwd<double>());
    SameBits<T> same;
    simt::for_every_schedule([&](Stream stream) {
      poison(mat<T>(x_, kX));
      cuda::embedding_fwd<T>(stream, fwd<T>());
      x_.expect_near(kEpsilon<T> + kEpsilon<float>, "x");  // a sum in fp32, rounded
      same.expect(x_, "x");
    });
  }

  void run_bwd() {
    cpu::embedding_bwd<double>({}, bwd<double>());
    SameBits<float> same_dembed, same_dpos;
    simt::for_every_schedule([&](Stream stream) {
      dembed_.restart(kStart), dpos_.restart(kStart), scratch_.poison();
      cuda::embedding_bwd<T>(stream, bwd<T>());
      // Sums in fp32 of terms of either sign: an eighth of a token's rows at a time, then eight parts.
      dembed_.expect_near(32 * kEpsilon<float>, "dembed");
      dpos_.expect_near(8 * kEpsilon<float>, "dpos");
      same_dembed.expect(dembed_, "dembed"), same_dpos.expect(dpos_, "dpos");
    });
  }

 private:
  static constexpr double kStart = 0.25;
  static constexpr int64_t kFirstPosition = 2;

  int64_t N() const { return s_.B * s_.T; }
  int64_t positions() const { return kFirstPosition + s_.T + 1; }
  template <class S>
  Mat<S> mat(Twin<T>& t, View view) {
    return t.template mat<S>(N(), s_.C, s_.C + s_.gap, start(view));
  }
  int64_t start(View view) const { return s_.odd >> view & 1; }

  Shape s_;
  Twin<int32_t> tokens_;
  Twin<T> x_, embed_, pos_, dx_;
  Twin<float> dembed_, dpos_;
  Twin<int32_t> scratch_;
};

template <class T>
class SimtEmbedding : public ::testing::Test {};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtEmbedding, Types);

TYPED_TEST(SimtEmbedding, BothDirectionsAreTheirTwins) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(::testing::Message() << s.B << ", " << s.T << ", " << s.V << ", " << s.C);
    Embeddings<TypeParam> embeddings(s);
    embeddings.run_fwd();
    embeddings.run_bwd();
  }
}

TYPED_TEST(SimtEmbedding, AnyViewMayBeUnaligned) {
  for (int view = 0; view < kViews; ++view) {
    SCOPED_TRACE(view);
    Embeddings<TypeParam> embeddings({2, 5, 3, 16, true, 0, 1u << view});
    embeddings.run_fwd();
    embeddings.run_bwd();
  }
}

TYPED_TEST(SimtEmbedding, NoRowsAreNoWork) {
  Embeddings<TypeParam> embeddings({0, 1, 3, 8, false});
  cuda::embedding_fwd({}, embeddings.template fwd<TypeParam>());
  cuda::embedding_bwd({}, embeddings.template bwd<TypeParam>());
}

TEST(SimtEmbeddingSort, TokensOfThreeDigits) {
  Embeddings<bf16>({1, 40, 66000, 2, false}).run_bwd();
}

TEST(SimtEmbeddingShapes, WrongOnesAreNamed) {
  Embeddings<bf16> embeddings({2, 3, 4, 8});
  EmbeddingFwd<bf16> fwd = embeddings.fwd<bf16>();
  fwd.start = 4;
  EXPECT_THROW(cuda::embedding_fwd({}, fwd), ShapeError);
  EmbeddingBwd<bf16> bwd = embeddings.bwd<bf16>();
  bwd.scratch.size = 6;
  EXPECT_THROW(cuda::embedding_bwd({}, bwd), ShapeError);
}

}  // namespace
}  // namespace saslm
