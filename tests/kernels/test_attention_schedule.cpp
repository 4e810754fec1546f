#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/cuda/attention_bwd_schedule.h"
#include "kernels/cuda/attention_fwd_schedule.h"

namespace saslm {
namespace {

TEST(AttentionFwdSchedule, TakesEveryTileOnceLongestFirst) {
  for (const int64_t heads : {1, 5, 64})
    for (const int64_t tiles : {1, 7})
      for (const int64_t section : {1, 2, 5, 64, 100}) {
        const AttentionFwdSchedule schedule(heads, tiles, AttentionFwdSchedule::kSectionBytes / section);
        std::vector<int> taken(size_t(heads * tiles), 0);
        const auto section_of = [&](int block) { return schedule.head(block) / schedule.section_heads; };
        for (int i = 0; i < int(schedule.thread_blocks()); ++i) {
          ++taken.at(size_t(schedule.head(i) * tiles + schedule.query_tile(i)));
          const bool same = i > 0 && section_of(i) == section_of(i - 1);
          EXPECT_TRUE(!same || schedule.query_tile(i) <= schedule.query_tile(i - 1)) << i;
        }
        EXPECT_EQ(taken, std::vector<int>(taken.size(), 1)) << heads << " heads, sections of " << section;
      }
}

// Which heads a query head reads, by the formulas of attention_heads.h.
int64_t k_head(const AttentionShape& s, int64_t h) {
  return h / (s.H / s.Gk);
}
int64_t v_head(const AttentionShape& s, int64_t h) {
  const int64_t modulo = s.v_modulo ? s.v_modulo : s.H;
  return h % modulo / (modulo / s.Gv);
}

std::string name(const AttentionShape& s) {
  std::string text;
  for (int64_t x : {s.B, s.H, s.Gk, s.Gv, s.v_modulo}) text += " " + std::to_string(x);
  return "B H Gk Gv v_modulo =" + text;
}

template <class F>
void each_shape(F f) {
  for (const int64_t B : {1, 3, 40, 200})
    for (const int64_t H : {1, 6, 12, 23})
      for (int64_t modulo = 0; modulo <= H; ++modulo)
        for (int64_t Gk = 1; Gk <= H; ++Gk)
          for (int64_t Gv = 1; Gv <= H; ++Gv)
            if (H % Gk == 0 && (modulo == 0 || H % modulo == 0) && (modulo ? modulo : H) % Gv == 0)
              f(AttentionShape{
                  .B = B, .T = 1, .H = H, .Gk = Gk, .Gv = Gv, .v_modulo = modulo, .E = 8, .D = 8});
}

// A chunk has only heads whose gradients are one sum.
TEST(AttentionBwdSchedule, EveryHeadIsInOneChunk) {
  each_shape([](const AttentionShape& s) {
    SCOPED_TRACE(name(s));
    const AttentionBwdSchedule schedule(s);
    std::vector<int> heads(size_t(s.H), 0);
    for (int64_t c = 0; c < schedule.sequence_chunks; ++c)
      for (int64_t i = 0; i < schedule.head_count(c); ++i) {
        const int64_t first = schedule.first_head(c), h = first + i * schedule.head_stride;
        ++heads.at(size_t(h));
        EXPECT_EQ(v_head(s, h), v_head(s, first));
        EXPECT_TRUE(s.Gk == s.H || k_head(s, h) == k_head(s, first));
      }
    EXPECT_EQ(heads, std::vector<int>(size_t(s.H), 1));
  });
}

// Every chunk's partial is added once: to the one of `groups` heads that the chunk reads, in ascending order.
template <class GroupOf>
void expect_added_once(const AttentionBwdSchedule& schedule, const AttentionBwdSchedule::Partials& partials,
                       int64_t groups, GroupOf group_of) {
  std::vector<int64_t> added, chunks;
  for (int64_t c = 0; c < schedule.sequence_chunks; ++c) chunks.push_back(c);
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t i = 0; i < partials.count(); ++i) {
      added.push_back(partials.chunk(g, i));
      EXPECT_EQ(group_of(schedule.first_head(added.back())), g);
      EXPECT_GT(added.back(), i > 0 ? partials.chunk(g, i - 1) : -1);
    }
  std::sort(added.begin(), added.end());
  EXPECT_EQ(added, chunks);
}
TEST(AttentionBwdSchedule, EveryPartialIsAddedOnce) {
  each_shape([](const AttentionShape& s) {
    SCOPED_TRACE(name(s));
    const AttentionBwdSchedule schedule(s);
    if (s.Gk < s.H)
      expect_added_once(schedule, schedule.dk_partials(), s.Gk, [&](int64_t h) { return k_head(s, h); });
    if (s.Gv < s.H)
      expect_added_once(schedule, schedule.dv_partials(), s.Gv, [&](int64_t h) { return v_head(s, h); });
  });
}

// Every key block of every chunk belongs to one work tile.
TEST(AttentionBwdSchedule, EveryKeyBlockIsInOneWorkTile) {
  for (const int64_t T : {1, 127, 128, 129, 1000, 3000})
    for (const int64_t keys : {kAttentionBwdKeys, kAttentionBwdNarrowKeys})
      for (const int64_t H : {1, 5, 12, 200}) {
        const AttentionBwdSchedule schedule({.B = 1, .T = T, .H = H, .Gk = H, .Gv = H, .E = 64, .D = 64},
                                            keys);
        std::vector<int> taken(size_t(schedule.chunks * ceil_div(T, keys)), 0);
        for (int w = 0; w < int(schedule.work_tiles); ++w)
          for (int key = schedule.first_key(w); key >= 0; key -= schedule.key_step())
            ++taken.at(size_t(w / schedule.splits * ceil_div(T, keys) + key / keys));
        EXPECT_EQ(taken, std::vector<int>(taken.size(), 1)) << T << " " << keys << " " << H;
      }
}

// The examples of its file.
TEST(AttentionBwdSchedule, IsAsItsExamplesSay) {
  const AttentionBwdSchedule gqa({.B = 1, .T = 1024, .H = 12, .Gk = 4, .Gv = 4, .E = 64, .D = 64});
  EXPECT_EQ(gqa.group_heads, 3);
  EXPECT_EQ(gqa.chunks, 12);
  EXPECT_EQ(gqa.splits, 4);
  EXPECT_EQ(gqa.work_tiles, 48);
  EXPECT_EQ(gqa.first_key(1), 6 * 128);
  const AttentionBwdSchedule sas(
      {.B = 8, .T = 1024, .H = 36, .Gk = 36, .Gv = 12, .v_modulo = 12, .E = 96, .D = 64});
  EXPECT_EQ(sas.group_heads, 3);
  EXPECT_EQ(sas.head_stride, 12);
  EXPECT_EQ(sas.group_chunks, 2);
  EXPECT_EQ(sas.work_tiles, 192);
  EXPECT_EQ(sas.head_count(0), 1);
  EXPECT_EQ(sas.head_count(1), 2);
}

}  // namespace
}  // namespace saslm
