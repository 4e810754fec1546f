// How many rows of logits are held at once: a matter of memory and speed, which no result shows.
#include <gtest/gtest.h>

#include "model/transformer.h"
#include "tests/model/whole_model.h"

namespace saslm {
namespace {

template <class T>
int64_t logits_bytes(int64_t vocab_size, const RunShape& run) {
  ModelConfig model = tiny(AttentionKind::mha);
  model.vocab_size = vocab_size;
  Layout<T> layout(Mode::train);
  const Transformer<T> declared(layout, model, run);
  for (const BufferLine& line : layout.buffers())
    if (line.name == "head.logits") return line.bytes;
  ADD_FAILURE() << "no such buffer";
  return 0;
}

constexpr int64_t kGpt2 = 50257, kGpt2InBf16 = 50304, kGpt2InFp32 = 50272;  // in whole 128 bytes

TEST(HeadChunks, InBf16AreEqualAndOfSixteenThousandRowsOrMoreAtGpt2sVocabulary) {
  EXPECT_EQ(logits_bytes<bf16>(kGpt2, {64, 1024}), 16384 * kGpt2InBf16 * 2);
  EXPECT_EQ(logits_bytes<bf16>(kGpt2, {32, 1024}), 16384 * kGpt2InBf16 * 2);
  EXPECT_EQ(logits_bytes<bf16>(kGpt2, {40, 1024}), 20480 * kGpt2InBf16 * 2);
  EXPECT_EQ(logits_bytes<bf16>(kGpt2, {1, 1000}), 1000 * kGpt2InBf16 * 2);
}

TEST(HeadChunks, NeverTakeMoreThanTwoGibibytesInBf16NorFewerThan64Rows) {
  for (const int64_t vocab : {int64_t(256), kGpt2, int64_t(1) << 20})
    EXPECT_LE(logits_bytes<bf16>(vocab, {64, 16384}), (int64_t(2) << 30) * kGpt2InBf16 / kGpt2) << vocab;
  EXPECT_EQ(logits_bytes<bf16>(int64_t(1) << 26, {1, 256}), 64 * (int64_t(1) << 26) * 2);
}

TEST(HeadChunks, InFp32HoldEightMillionLogits) {
  EXPECT_EQ(logits_bytes<float>(kGpt2, {64, 1024}), 166 * kGpt2InFp32 * 4);
  EXPECT_EQ(logits_bytes<float>(8192, {64, 1024}), 1024 * 8192 * 4);
  EXPECT_EQ(logits_bytes<float>(256, {2, 64}), 128 * 256 * 4);
}

}  // namespace
}  // namespace saslm
