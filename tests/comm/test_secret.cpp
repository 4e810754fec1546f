// The ranks' secret, its file, and strangers who know all of the program but not the secret.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "comm/greeting.h"
#include "comm/here.h"
#include "comm/meeting.h"
#include "comm/secret_file.h"
#include "core/error.h"
#include "own_folder.h"

namespace saslm {
namespace {

using test::free_port, test::holds, test::kHere;

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

const SecretKey kSecret = *secret_of("the right secret of the tests' ranks");
const SecretKey kOther = *secret_of("another secret that is long enough, too");

TEST(Secret, IsAnotherEveryTimeAndIsTakenAsText) {
  EXPECT_EQ(draw_secret().size(), 64u);
  EXPECT_NE(draw_secret(), draw_secret());
  EXPECT_NE(draw_nonce(), draw_nonce());
  EXPECT_FALSE(secret_of(std::string(31, 'a')));
  EXPECT_EQ(*secret_of(std::string(32, 'a')), *secret_of(std::string(32, 'a')));
  EXPECT_NE(*secret_of(std::string(32, 'a')), *secret_of(std::string(33, 'a')));
}

TEST(Secret, IsProvedByNothingThatDiffersInABit) {
  const Said said = {.greeting = {.size = 2, .rank = 1, .nonce = draw_nonce()}, .challenge = draw_nonce()};
  const Proof proof = prove(kSecret, bytes_in(said));
  EXPECT_TRUE(proves(proof, kSecret, bytes_in(said)));
  EXPECT_FALSE(proves(proof, kOther, bytes_in(said)));
  EXPECT_FALSE(proves(Proof{}, kSecret, bytes_in(said)));
  for (size_t bit = 0; bit < 8 * sizeof said; ++bit) {
    Said other = said;
    bytes_in(other)[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(proves(proof, kSecret, bytes_in(other))) << bit;
  }
  for (size_t bit = 0; bit < 8 * sizeof proof; ++bit) {
    Proof other = proof;
    other[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(proves(other, kSecret, bytes_in(said))) << bit;
  }
}

// HMAC-SHA-512, cut to 256 bits, as RFC 4231's test case 1 has it: the key is 20 bytes 0b and zeros.
TEST(Secret, IsProvedAsTheStandardSays) {
  SecretKey key{};
  std::fill_n(key.begin(), 20, std::byte(0x0b));
  const std::string said = "Hi There";
  const Proof proof = prove(key, std::as_bytes(std::span(said)));
  EXPECT_EQ(proof[0], std::byte(0x87));
  EXPECT_EQ(proof[1], std::byte(0xaa));
  EXPECT_EQ(proof[31], std::byte(0xde));
}

TEST(SecretFile, IsReadByItsOwnerAloneAndGoesWithItsFolders) {
  const test::OwnFolder folder;
  const std::string dir = folder / "runs/a";
  EXPECT_FALSE(read_secret(dir));
  {
    const SecretFile file(dir);
    EXPECT_EQ(fs::status(secret_path(dir)).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_EQ(read_secret(dir), file.key());
    const SecretFile later(dir);  // over one that was left
    EXPECT_EQ(read_secret(dir), later.key());
    EXPECT_NE(later.key(), file.key());
  }
  EXPECT_FALSE(fs::exists(folder / "runs"));
  fs::create_directories(dir);
  { const SecretFile file(dir); }
  EXPECT_TRUE(fs::is_empty(dir)) << "what was there before stays";
}

TEST(SecretFile, ThatOthersMayReadIsRefused) {
  const test::OwnFolder folder;
  const SecretFile file(folder.path());
  fs::permissions(secret_path(folder.path()), fs::perms(0640));
  try {
    read_secret(folder.path());
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("may be read by others"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("SASLM_SECRET"), std::string::npos) << e.what();
  }
}

TEST(SecretFile, ThatCannotBeWrittenIsRefusedWithWhatToDo) {
  const test::OwnFolder folder;
  std::ofstream(folder / "file");
  try {
    const SecretFile file(folder / "file");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("--run-dir"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("SASLM_SECRET"), std::string::npos) << e.what();
  }
}

// --- meetings, of ranks that are threads

LaunchedAs rank_of(int rank, int port, std::optional<SecretKey> secret, const std::string& dir = "") {
  return {.rank = rank,
          .size = 2,
          .master_host = kHere,
          .master_port = port,
          .secret = secret,
          .shared_dir = dir};
}

// How a rank's part in the meeting ends, in a thread.
std::future<std::string> meets(const LaunchedAs& as, double limit_s = 20) {
  return std::async(std::launch::async, [as, limit_s]() -> std::string {
    try {
      meet(as, Clock::now() + milliseconds(int(1000 * limit_s)));
      return "met";
    } catch (const std::exception& e) {
      return e.what();
    }
  });
}

Socket knock(int port) {
  Socket one;
  while (!one) one = connect_to({kHere, port}, Clock::now() + seconds(5));
  return one;
}

TEST(MeetingBySecret, RanksWithOneFileMeetAndLeaveNothing) {
  const test::OwnFolder folder;
  const std::string dir = folder / "run";
  const int port = free_port();
  auto second = meets(rank_of(1, port, {}, dir));
  std::this_thread::sleep_for(milliseconds(200));  // it waits for the file
  auto first = meets(rank_of(0, port, {}, dir));
  EXPECT_EQ(first.get(), "met");
  EXPECT_EQ(second.get(), "met");
  EXPECT_FALSE(fs::exists(dir));
}

TEST(MeetingBySecret, AFileThatAKilledRunLeftIsTriedUntilThereIsTheNewOne) {
  const test::OwnFolder folder;
  const std::string dir = folder.path();
  std::ofstream(secret_path(dir)) << std::string(64, 'a') << "\n";
  fs::permissions(secret_path(dir), fs::perms(0600));
  const int port = free_port();
  auto second = meets(rank_of(1, port, {}, dir));
  std::this_thread::sleep_for(milliseconds(200));
  auto first = meets(rank_of(0, port, {}, dir));
  EXPECT_EQ(first.get(), "met");
  EXPECT_EQ(second.get(), "met");
}

TEST(MeetingBySecret, WithoutOneARankIsToldWhatToSet) {
  const test::OwnFolder folder;
  for (const int rank : {0, 1})
    EXPECT_TRUE(holds(meets(rank_of(rank, free_port(), {})).get(), "should have a SASLM_SECRET"));
  // Another folder than rank 0's.
  EXPECT_TRUE(holds(meets(rank_of(1, free_port(), {}, folder.path()), 0.5).get(),
                    "rank 0 wrote no " + secret_path(folder.path()) +
                        ", which proves that ranks belong together, within 1 s"));
}

TEST(MeetingBySecret, AnotherSecretIsRefusedAndTheMeetingGoesOn) {
  const test::OwnFolder folder, left_over;
  std::ofstream(secret_path(left_over.path())) << std::string(64, 'a') << "\n";
  fs::permissions(secret_path(left_over.path()), fs::perms(0600));
  const int port = free_port();
  auto first = meets(rank_of(0, port, {}, folder.path()));
  knock(port);
  EXPECT_TRUE(
      holds(meets(rank_of(1, port, kOther)).get(), "was started without the SASLM_SECRET of this rank"));
  EXPECT_TRUE(
      holds(meets(rank_of(1, port, {}, left_over.path()), 0.5).get(), "did not become that of rank 0 at"));
  auto second = meets(rank_of(1, port, {}, folder.path()));
  EXPECT_EQ(first.get(), "met");
  EXPECT_EQ(second.get(), "met");
}

// What rank 1 says to rank 0, heard by who sits between them.
struct Overheard {
  Greeting greeting;
  Challenge challenge;
  Proof proof;
  Answer answer;
};

// One rank's bytes to the other and back, for the first connection.
Overheard between(const Socket& rank, const Socket& first) {
  Overheard heard;
  const Deadline until = Clock::now() + seconds(10);
  const auto pass = [&](const Socket& from, const Socket& to, auto& what) {
    EXPECT_TRUE(receive_all(from, bytes_in(what), until));
    EXPECT_TRUE(send_all(to, bytes_in(what), until));
  };
  pass(rank, first, heard.greeting);
  pass(first, rank, heard.challenge);
  pass(rank, first, heard.proof);
  pass(first, rank, heard.answer);
  return heard;
}

TEST(MeetingBySecret, WhatWasOverheardServesNobodyASecondTime) {
  const Deadline until = Clock::now() + seconds(20);
  Overheard heard;
  {
    const int port = free_port();
    const Socket tap = listen_at({kHere, 0});
    auto first = meets(rank_of(0, port, kSecret), 2),
         second = meets(rank_of(1, own_end(tap).port, kSecret), 2);
    Socket rank;
    while (!rank) rank = accept_from(tap);
    heard = between(rank, knock(port));
    EXPECT_EQ(heard.answer.verdict, kWelcome) << "the tap itself is not noticed";
    first.get(), second.get();  // which then miss each other's data
  }
  // As rank 1 to another rank 0.
  const int port = free_port();
  auto first = meets(rank_of(0, port, kSecret));
  const Socket replay = knock(port);
  Challenge challenge;
  Answer answer;
  ASSERT_TRUE(send_all(replay, bytes_in(heard.greeting), until));
  ASSERT_TRUE(receive_all(replay, bytes_in(challenge), until));
  EXPECT_NE(challenge.nonce, heard.challenge.nonce);
  ASSERT_TRUE(send_all(replay, heard.proof, until));
  ASSERT_TRUE(receive_all(replay, bytes_in(answer), until));
  EXPECT_EQ(answer.verdict, kOtherSecret);
  EXPECT_EQ(answer.proof, Proof{});
  // As rank 0 to another rank 1.
  const Socket imposter = listen_at({kHere, 0});
  auto deceived = meets(rank_of(1, own_end(imposter).port, kSecret));
  Socket rank;
  while (!rank) rank = accept_from(imposter);
  Greeting greeting;
  Proof proof;
  ASSERT_TRUE(receive_all(rank, bytes_in(greeting), until));
  ASSERT_TRUE(send_all(rank, bytes_in(heard.challenge), until));
  ASSERT_TRUE(receive_all(rank, bytes_in(proof), until));
  ASSERT_TRUE(send_all(rank, bytes_in(heard.answer), until));
  EXPECT_TRUE(holds(deceived.get(), "does not prove that it is rank 0 of this run"));
  // And the meeting goes on.
  auto second = meets(rank_of(1, port, kSecret));
  EXPECT_EQ(second.get(), "met");
  EXPECT_EQ(first.get(), "met");
}

// An own proof sent back, or one for another rank, is none.
TEST(MeetingBySecret, AMirrorProvesNothing) {
  const Deadline until = Clock::now() + seconds(20);
  const Socket mirror = listen_at({kHere, 0});
  auto rank = meets(rank_of(1, own_end(mirror).port, kSecret));
  Socket one;
  while (!one) one = accept_from(mirror);
  Greeting greeting;
  Proof proof;
  ASSERT_TRUE(receive_all(one, bytes_in(greeting), until));
  const Challenge challenge = {.nonce = greeting.nonce};
  ASSERT_TRUE(send_all(one, bytes_in(challenge), until));
  ASSERT_TRUE(receive_all(one, bytes_in(proof), until));
  const Answer answer = {.verdict = kWelcome, .size = 2, .proof = proof};
  ASSERT_TRUE(send_all(one, bytes_in(answer), until));
  EXPECT_TRUE(holds(rank.get(), "does not prove that it is rank 0 of this run"));
}

// A stranger that stops after any byte of what a rank says keeps nobody from meeting.
TEST(MeetingBySecret, SlowStrangersHoldNobodyUp) {
  const int port = free_port();
  auto first = meets(rank_of(0, port, kSecret));
  std::vector<Socket> strangers;
  Greeting greeting = {.size = 2, .rank = 1, .nonce = draw_nonce()};
  std::vector<std::byte> text(bytes_in(greeting).begin(), bytes_in(greeting).end());
  text.resize(text.size() + sizeof(Proof));  // a wrong one
  for (size_t size = 0; size < text.size(); size += 5) {
    strangers.push_back(knock(port));
    send_some(strangers.back(), std::span(text).first(size));
  }
  auto second = meets(rank_of(1, port, kSecret), 8);
  EXPECT_EQ(second.get(), "met");
  EXPECT_EQ(first.get(), "met");
}

}  // namespace
}  // namespace saslm
