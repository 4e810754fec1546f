// The room over a stand-in for NCCL (fake_nccl.h), on one rank and on several that are threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <functional>
#include <random>

#include "comm/nccl.h"
#include "tests/comm/nccl/fake_nccl.h"
#include "tests/comm/thread_ranks.h"
#include "train/gradient_sum.h"

namespace saslm {
namespace {

constexpr double kLong = 20, kShort = 0.2;  // seconds

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Vec<float> view(std::vector<float>& x) {
  return {x.data(), int64_t(x.size())};
}

// One rank's life: it gives to itself, sums, waits, and parts.
void live(FakeNccl& fake, double timeout_s, NcclOptions options = {}) {
  const auto room = join_nccl(room_of_one(timeout_s), FakeNccl::api(), std::move(options));
  std::vector<float> x = {1, 2, 3}, y(3);
  const Stream stream{fake.stream()};
  room->exchange(stream, 0, view(x), view(y), "sum of gradients");
  EXPECT_EQ(y, x);
  room->exchange(stream, 0, {}, {}, "nothing");
  room->all_reduce(stream, view(y), "library's sum");
  EXPECT_EQ(y, x);
  room->all_reduce(stream, {}, "nothing");
  room->wait(stream, "end of the step");
}

constexpr const char* kLife =
    "id, init 0 of 1, ask, group, give 12 to 0, take 12 from 0, group end, ask, sum 3, ask, query stream, "
    "finalize, ask, destroy";

TEST(Nccl, AloneMakesTheseCallsInThisOrder) {
  for (const int polls : {0, 1, 5}) {
    FakeWorld world;
    FakeNccl fake(world);
    fake.polls = polls;
    live(fake, kLong);
    EXPECT_EQ(fake.story(), kLife) << polls;
    EXPECT_EQ(fake.aborts_begun, 0);
  }
}

TEST(Nccl, WaitsForTheStreamAndKeepsAskingOfErrors) {
  FakeWorld world;
  FakeNccl fake(world);
  fake.busy_queries = 3;
  live(fake, kLong);
  EXPECT_NE(fake.story().find("sum 3, ask, query stream, ask, query stream, ask, query stream, finalize"),
            std::string::npos)
      << fake.story();
}

// What the n-th call of the life is made for, where every call is in progress for one question.
const char* doing_at(int n) {
  return n < 3    ? "in the joining of the GPUs: "
         : n < 8  ? "in the sum of gradients: "
         : n < 10 ? "in the library's sum: "
                  : "in the end of the step: ";
}

// Spoils the n-th call for every n of the life in turn.
void spoil_each_call(int FakeNccl::*spoiled, double timeout_s,
                     const std::function<void(const FakeNccl&, const std::string& error)>& expect) {
  for (int n = 0;; ++n) {
    FakeWorld world;
    FakeNccl fake(world);
    fake.*spoiled = n;
    fake.polls = 1;
    std::string error;
    try {
      live(fake, timeout_s);
    } catch (const MachineError& e) {
      error = e.what();
    }
    if (int(fake.calls.size()) <= n) {
      EXPECT_EQ(n, 15) << "all calls had their turn";
      return;
    }
    SCOPED_TRACE(std::to_string(n) + ": " + fake.story() + "\n" + error);
    const bool made = fake.calls.size() > 2 || spoiled != &FakeNccl::fails_at;  // a communicator
    const bool destroyed = fake.destroyed > 0;  // was to be, when nothing was left that could fail
    EXPECT_EQ(fake.aborts_begun, made && !destroyed ? 1 : 0);
    const bool parting = fake.story().find("finalize") != std::string::npos;
    EXPECT_EQ(error.empty(), parting) << "work that is done is not lost by parting";
    if (!parting) {
      EXPECT_EQ(fake.destroyed, 0);
      EXPECT_EQ(error.find(doing_at(n)), 0u) << error;
      expect(fake, error);
    }
  }
}

TEST(Nccl, AnyCallsFailureNamesTheCollectiveAndTheWordsThenAborts) {
  spoil_each_call(&FakeNccl::fails_at, kLong, [](const FakeNccl& fake, const std::string& error) {
    const bool of_cuda = fake.calls.back() == "query stream";
    EXPECT_NE(
        error.find(of_cuda ? "cudaStreamQuery: an error of CUDA's" : "an error of NCCL's; the cable is out"),
        std::string::npos);
  });
}

TEST(Nccl, AnErrorThatComesLaterIsFoundByAsking) {
  spoil_each_call(&FakeNccl::breaks_at, kLong, [](const FakeNccl& fake, const std::string& error) {
    EXPECT_EQ(fake.calls.back(), "ask");
    EXPECT_NE(error.find("an error of NCCL's; the cable is out"), std::string::npos);
  });
}

TEST(Nccl, AHangEndsWithinTheLimit) {
  for (int n = 1; n < 20; ++n) {
    FakeWorld world;
    FakeNccl fake(world);
    fake.hangs_at = n;
    std::string error;
    const double s = seconds([&] {
      try {
        live(fake, kShort);
      } catch (const CommError& e) {
        error = e.what();
      }
    });
    if (int(fake.calls.size()) <= n) {
      EXPECT_GE(n, 10);
      return;
    }
    EXPECT_LT(s, kShort + 2) << fake.story();
    if (fake.destroyed > 0) continue;  // hung where nobody waits
    EXPECT_EQ(fake.aborts_begun, 1) << fake.story();
    const bool parting = fake.story().find("finalize") != std::string::npos;
    EXPECT_TRUE(parting || error.find("within 1 s (runtime.comm_timeout_s)") != std::string::npos) << error;
  }
}

TEST(Nccl, AStreamThatNeverEndsEndsWithinTheLimit) {
  FakeWorld world;
  FakeNccl fake(world);
  fake.busy_queries = -1;
  EXPECT_LT(seconds([&] { EXPECT_THROW(live(fake, kShort), CommError); }), kShort + 2);
  EXPECT_EQ(fake.aborts_begun, 1);
  EXPECT_EQ(fake.destroyed, 0);
}

TEST(Nccl, AnAbortThatHangsIsGivenUpAndTold) {
  FakeWorld world;
  FakeNccl fake(world);
  fake.fails_at = 8;  // the library's sum
  fake.abort_hangs = true;
  std::string told;
  const NcclOptions options{.abort_timeout_s = kShort,
                            .when_stuck = [&](const std::exception& error) { told = error.what(); }};
  EXPECT_LT(seconds([&] { EXPECT_THROW(live(fake, kLong, options), CommError); }), kShort + 2);
  EXPECT_EQ(told.find("in the library's sum: ncclAllReduce: "), 0u) << told;
  EXPECT_EQ(fake.aborts_begun, 1);
}

TEST(Nccl, AnErrorElsewhereAbortsInsteadOfParting) {
  FakeWorld world;
  FakeNccl fake(world);
  EXPECT_THROW(
      {
        const auto room = join_nccl(room_of_one(kLong), FakeNccl::api(), {});
        throw DataError("elsewhere");
      },
      DataError);
  EXPECT_EQ(fake.aborts_begun, 1);
  EXPECT_EQ(fake.story(), "id, init 0 of 1, ask");
}

TEST(Nccl, WhatIsAbandonedIsAbortedOnceAndTakesNoCall) {
  FakeWorld world;
  FakeNccl fake(world);
  {
    const auto room = join_nccl(room_of_one(kLong), FakeNccl::api(), {});
    room->abandon(DataError("elsewhere"));
    room->abandon(DataError("elsewhere"));
    EXPECT_THROW(room->wait({fake.stream()}, "test"), ShapeError);
  }
  EXPECT_EQ(fake.aborts_begun, 1);
  EXPECT_EQ(fake.story(), "id, init 0 of 1, ask");
}

TEST(Nccl, RefusesLibrariesThatCannotBeAborted) {
  FakeWorld world;
  FakeNccl fake(world);
  fake.version = NCCL_VERSION(2, 18, 6);
  EXPECT_THROW(check_version(FakeNccl::api()), ConfigError);
  fake.version = NCCL_VERSION(2, 19, 3);
  check_version(FakeNccl::api());
}

TEST(Nccl, TheLibraryHasEveryFunction) {
  try {
    const NcclApi api = load_nccl();
    EXPECT_STREQ(api.get_error_string(ncclSuccess), "no error");
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("NCCL"), std::string::npos);
    GTEST_SKIP() << e.what();
  }
}

// --- several ranks

// use(room, stream) as each of them, over one world; what each died of.
std::vector<std::string> on_ranks(int size, const std::function<void(const Communicator&, FakeNccl&)>& use,
                                  double timeout_s = kLong) {
  FakeWorld world;
  return run_ranks(size, timeout_s, [&](std::unique_ptr<HostRanks> host) {
    FakeNccl fake(world);
    fake.polls = host->rank() % 3;
    const auto room = join_nccl(std::move(host), FakeNccl::api(), {});
    use(*room, fake);
  });
}

TEST(NcclRanks, GiveAndTakeUnevenAndEmptyParts) {
  std::vector<std::string> stories(2);
  const auto errors = on_ranks(2, [&](const Communicator& room, FakeNccl& fake) {
    const bool upper = room.rank() == 1;
    const int other = 1 - room.rank();
    std::vector<float> three = {1, 2, 3}, two = {4, 5};
    std::vector<float> got(upper ? 3 : 2), once_more(upper ? 0 : 2);
    const Stream stream{fake.stream()};
    room.exchange(stream, other, view(upper ? two : three), view(got), "test");
    EXPECT_EQ(got, upper ? three : two);
    room.exchange(stream, other, upper ? view(two) : Vec<float>{}, view(once_more), "test");
    EXPECT_TRUE(upper || once_more == two);
    std::vector<float> y = {float(room.rank()), 1};
    room.all_reduce(stream, view(y), "test");
    EXPECT_EQ(y, (std::vector<float>{1, 2}));
    EXPECT_EQ(gather_numbers(room, {double(room.rank())}, "test"), (std::vector<double>{0, 1}));
    room.wait(stream, "test");
    stories[size_t(room.rank())] = fake.story();
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
  EXPECT_EQ(stories[0],
            "id, init 0 of 2, ask, group, give 12 to 1, take 8 from 1, group end, ask, group, take 8 from 1, "
            "group end, ask, sum 2, ask, query stream");
  EXPECT_EQ(stories[1],
            "init 1 of 2, ask, group, give 8 to 0, take 12 from 0, group end, ask, group, give 8 to 0, group "
            "end, ask, sum 2, ask, query stream");
}

// One that does not come keeps the others waiting until the limit; the lowest of them names it.
TEST(NcclRanks, NameTheOneThatDoesNotCome) {
  const auto errors = on_ranks(
      3,
      [&](const Communicator& room, FakeNccl& fake) {
        std::vector<float> y = {1};
        if (room.rank() == 1) {
          std::this_thread::sleep_for(std::chrono::duration<double>(2.5));
          throw DataError("late");
        }
        room.all_reduce({fake.stream()}, view(y), "sum of gradients");
      },
      1.0);
  EXPECT_EQ(errors[0].find("in the sum of gradients: no answer from rank 1 within 1 s"), 0u) << errors[0];
  EXPECT_EQ(errors[1], "late");
  EXPECT_EQ(errors[2], PeerError().what());
}

TEST(NcclRanks, AreAbortedWhenTheHostsRoomSaysThatOneIsGone) {
  Meeting meeting;
  FakeWorld world;
  FakeNccl fake(world);
  meeting.gathered[0][1].resize(sizeof(ncclUniqueId));  // it was there at the beginning
  const auto room = join_nccl(std::make_unique<ThreadRank>(meeting, 0, 2, kLong), FakeNccl::api(), {});
  meeting.gone = {1};
  std::vector<float> y = {1};
  try {
    room->exchange({fake.stream()}, 1, view(y), view(y), "spread of gradients");
    FAIL();
  } catch (const CommError& e) {
    EXPECT_STREQ(e.what(), "in the spread of gradients: rank 1 is gone");
  }
  EXPECT_EQ(fake.aborts_begun, 1);
}

constexpr int64_t kBlocksABucket = 8, kSummed = 81 * Shares::kBlock + 1003;
constexpr int64_t kBuckets = 11;

// What one rank of `size` has after its share of 8 micro-batches of random gradients.
std::vector<float> summed(const Communicator& room, Stream stream, Sharing sharing = {}) {
  constexpr int64_t kMicroBatches = 8;
  Layout<float> layout(Mode::train);
  layout.param("w", {kSummed}, "test", Init::zeros());
  const int64_t mine = kMicroBatches / room.size();
  sharing.bucket = kBlocksABucket * Shares::kBlock;
  const SumPlan<float> plan(layout, mine, room.size(), sharing);
  const Arena<float> arena(layout, allocate_host(layout.bytes()));
  GradientSum<float> sum(plan, {cpu_ops<float>(), arena, room, stream, stream});
  for (int64_t i = 0; i < mine; ++i) {
    const Arena<float> leaf = sum.begin(i);
    std::mt19937 random(uint32_t(1 + room.rank() * mine + i));
    for (int64_t j = 0; j < kSummed; ++j) leaf.gradients()[j] = float(random()) - 0x1p31f;
    // As a model finishes them: from the end on.
    sum.add(i, {kSummed / 3, kSummed - kSummed / 3});
    sum.add(i, {0, kSummed / 3});
  }
  sum.finish();
  if (!plan.sharded()) return {arena.gradients().data, arena.gradients().data + kSummed};
  // The sums of this rank's shares stand for weights that were updated.
  float* const weights = arena.whole<float>(Region::parameters).data;
  for (const Share& share : plan.shares.of(room.rank()))
    std::copy_n(arena.gradients().data + share.range.first, share.range.size, weights + share.range.first);
  sum.spread_weights();
  sum.await_weights();
  return {weights, weights + kSummed};
}

int64_t groups_of(const FakeNccl& fake) {
  return std::count(fake.calls.begin(), fake.calls.end(), "group");
}

// There and back: in one pipeline, or, sharded, in two; each has its drain.
void expect_bits_and_groups(int size, Sharing sharing, int64_t stages, const std::vector<float>& alone) {
  SCOPED_TRACE(std::to_string(size) + " ranks, " + std::to_string(sharing.near) + " near" +
               (sharing.sharded ? ", sharded" : ""));
  std::vector<std::vector<float>> sums(static_cast<size_t>(size));
  std::vector<int64_t> groups(sums.size());
  EXPECT_EQ(on_ranks(size,
                     [&](const Communicator& room, FakeNccl& fake) {
                       sums[size_t(room.rank())] = summed(room, {fake.stream()}, sharing);
                       groups[size_t(room.rank())] = groups_of(fake);
                     }),
            std::vector<std::string>(size_t(size)));
  for (const std::vector<float>& sum : sums) EXPECT_TRUE(sum == alone);
  for (const int64_t count : groups)
    EXPECT_EQ(count, sharing.sharded ? 2 * (kBuckets + stages - 1) : kBuckets + 2 * stages - 1);
}

TEST(NcclRanks, SumGradientsToTheBitsOfOneRankInOneGroupABucketAndADrain) {
  const std::vector<float> alone = summed(single_rank(), {});
  EXPECT_TRUE(summed(single_rank(), {}, {.sharded = true}) == alone);
  for (const bool sharded : {false, true}) {
    for (const int size : {2, 4, 8}) expect_bits_and_groups(size, {.sharded = sharded, .near = 8}, 1, alone);
    for (const int size : {4, 8}) expect_bits_and_groups(size, {.sharded = sharded, .near = 2}, 2, alone);
    expect_bits_and_groups(8, {.sharded = sharded, .near = 4}, 2, alone);
  }
}

}  // namespace
}  // namespace saslm
