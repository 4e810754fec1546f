// Every rank is a process of its own, as in a run: how one ends is part of what is tested.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <numeric>
#include <thread>

#include "comm/here.h"
#include "comm/host_ranks.h"
#include "comm/tcp.h"
#include "core/error.h"

namespace saslm {
namespace {

using test::free_port, test::holds, test::kHere;

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AssertionFailure;
using testing::AssertionResult;
using testing::AssertionSuccess;

constexpr double kPatient = 30, kShort = 1;  // seconds

// What is run in another process, and the line it says at its end.
class Process {
 public:
  explicit Process(const std::function<std::string()>& work) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    said_ = Socket(ends[0]);
    const Socket says(ends[1]);
    pid_ = fork();
    if (pid_ != 0) return;
    std::string text;
    try {
      text = work();
    } catch (const PeerError&) {
      text = "another says";
    } catch (const ConfigError& e) {
      text = std::string("config: ") + e.what();
    } catch (const std::exception& e) {
      text = e.what();
    }
    if (write(says.fd(), text.data(), text.size()) < 0) _exit(1);
    _exit(0);
  }
  Process(Process&& other) noexcept : said_(std::move(other.said_)), pid_(std::exchange(other.pid_, -1)) {}
  ~Process() {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
  }

  std::string said() {
    std::string text(4096, '\0');
    text.resize(size_t(std::max<ssize_t>(read(said_.fd(), text.data(), text.size()), 0)));
    return text;
  }

 private:
  Socket said_;
  pid_t pid_ = -1;
};

using Body = std::function<std::string(const Communicator&)>;

Process start(const LaunchedAs& as, double timeout_s, const Body& body) {
  return Process([=] { return body(*join_ranks(as, timeout_s)); });
}

LaunchedAs rank_of(int rank, int size, int port) {
  return {.rank = rank,
          .size = size,
          .master_host = kHere,
          .master_port = port,
          .secret = secret_of("the tests' secret, long enough to be one")};
}

std::vector<std::string> said(std::vector<Process>& processes) {
  std::vector<std::string> all;
  for (Process& one : processes) all.push_back(one.said());
  return all;
}

// What the ranks say, which begin in this order.
std::vector<std::string> on_ranks(int size, double timeout_s, const Body& body, std::vector<int> order = {}) {
  const int port = free_port();
  order.resize(size_t(size));
  if (size > 1 && order[0] == order[1]) std::iota(order.begin(), order.end(), 0);
  std::vector<Process> processes;
  for (const int rank : order) {
    processes.push_back(start(rank_of(rank, size, port), timeout_s, body));
    std::this_thread::sleep_for(milliseconds(20));
  }
  return said(processes);
}

using Said = std::vector<std::string>;

TEST(Sockets, APartnersNumbersArriveWholeWhateverTheirNumber) {
  const Said all = on_ranks(4, kPatient, [](const Communicator& comm) {
    for (const int64_t count : {0, 1, 1000, 5'000'000}) {
      for (int distance = 1; distance < comm.size(); ++distance) {
        const int partner = comm.rank() ^ distance;
        std::vector<float> give(size_t(count + comm.rank())), take(size_t(count + partner), -1);
        std::iota(give.begin(), give.end(), float(comm.rank()));
        comm.exchange({}, partner, {give.data(), std::ssize(give)}, {take.data(), std::ssize(take)}, "test");
        for (size_t i = 0; i < take.size(); ++i)
          if (take[i] != float(partner) + float(i)) return "at " + std::to_string(i);
      }
    }
    return std::string("right");
  });
  EXPECT_EQ(all, Said(4, "right"));
}

TEST(Sockets, GatherIsInTheOrderOfRanksWhateverTheOrderOfStart) {
  const auto body = [](const Communicator& comm) {
    gather_numbers(comm, {}, "test");
    std::string all;
    for (const std::string& text : gather_texts(comm, std::string(size_t(comm.rank()), 'x'), "test"))
      all += text + "|";
    return all;
  };
  EXPECT_EQ(on_ranks(3, kPatient, body, {2, 1, 0}), Said(3, "|x|xx|"));
  EXPECT_EQ(on_ranks(3, kPatient, body, {1, 0, 2}), Said(3, "|x|xx|"));
}

TEST(Sockets, CollectGivesTheFirstWhatAllHaveAndTheOthersNothing) {
  const Said ends = on_ranks(3, kPatient, [](const Communicator& comm) {
    std::string all(comm.first() ? 9 : 0, '?');
    for (const char letter : {'a', 'k'}) {
      const std::string mine(3, char(letter + comm.rank()));
      comm.collect(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), "test");
      if (all != (comm.first() ? std::string(letter == 'a' ? "aaabbbccc" : "kkklllmmm") : "")) return all;
    }
    return std::string("right");
  });
  EXPECT_EQ(ends, Said(3, "right"));
}

// As a pipeline of sums makes them: several with one partner in one call.
TEST(Sockets, ExchangesOfOneCallAreMatchedInTheirOrder) {
  const Said all = on_ranks(4, kPatient, [](const Communicator& comm) {
    std::vector<std::vector<float>> give, take;
    std::vector<Exchange> exchanges;
    for (int i = 0; i < 5; ++i) {
      const int partner = comm.rank() ^ (1 + i % 2);
      give.push_back(std::vector<float>(size_t(100'000 * i), float(10 * comm.rank() + i)));
      take.push_back(std::vector<float>(give.back().size()));
      exchanges.push_back({partner, bytes_of(Vec<const float>{give.back().data(), std::ssize(give.back())}),
                           bytes_of(Vec<float>{take.back().data(), std::ssize(take.back())})});
    }
    comm.exchange({}, exchanges, "test");
    for (int i = 0; i < 5; ++i)
      for (const float x : take[size_t(i)])
        if (x != float(10 * exchanges[size_t(i)].partner + i)) return "in exchange " + std::to_string(i);
    return std::string("right");
  });
  EXPECT_EQ(all, Said(4, "right"));
}

TEST(Sockets, ARankThatFinishesFirstTakesNothingFromTheOthers) {
  const Said all = on_ranks(3, kPatient, [](const Communicator& comm) {
    if (comm.rank() == 2) std::this_thread::sleep_for(milliseconds(700));
    gather_numbers(comm, {}, "test");
    return std::string("done");
  });
  EXPECT_EQ(all, Said(3, "done"));
}

TEST(Sockets, ALostRankIsNamedByTheLowestThatRemains) {
  for (const int victim : {0, 2}) {
    const Said all = on_ranks(4, kPatient, [&](const Communicator& comm) {
      gather_numbers(comm, {}, "first");
      if (comm.rank() == victim) _exit(0);
      gather_numbers(comm, {}, "second");
      return std::string("went on");
    });
    const size_t lowest = victim == 0 ? 1 : 0;
    EXPECT_TRUE(holds(all[lowest],
                      "in the second: rank " + std::to_string(victim) + " ended without an error message"));
    for (const size_t other : {1, 2, 3}) {
      if (other == lowest || int(other) == victim) continue;
      EXPECT_EQ(all[other], "another says");
    }
  }
}

TEST(Sockets, ALostRankIsNamedByARankThatLooksLaterThanAllOthers) {
  const Said all = on_ranks(3, kPatient, [](const Communicator& comm) {
    gather_numbers(comm, {}, "first");
    if (comm.rank() == 2) _exit(0);
    if (comm.rank() == 0) std::this_thread::sleep_for(milliseconds(1500));
    gather_numbers(comm, {}, "second");
    return std::string("went on");
  });
  EXPECT_TRUE(holds(all[0], "in the second: rank 2 ended without an error message"));
  EXPECT_EQ(all[1], "another says");
}

TEST(Sockets, ARankThatFailsSaysItselfWhy) {
  const Said all = on_ranks(3, kPatient, [](const Communicator& comm) {
    if (comm.rank() == 1) throw DataError("no such shard");
    gather_numbers(comm, {}, "test");
    return std::string("went on");
  });
  EXPECT_EQ(all, (Said{"another says", "no such shard", "another says"}));
}

TEST(Sockets, AHungRankIsNamedWhenTheTimeIsUpNotTheInnocentWhoWaitForIt) {
  for (const int victim : {0, 3}) {
    const Said all = on_ranks(4, kShort, [&](const Communicator& comm) {
      if (comm.rank() == victim) {
        std::this_thread::sleep_for(milliseconds(2500));
        return std::string("slept");
      }
      std::vector<float> one(1);
      for (const int distance : {1, 2})
        comm.exchange({}, comm.rank() ^ distance, {one.data(), 1}, {one.data(), 1}, "sum");
      return std::string("went on");
    });
    int named = 0;
    for (const std::string& text : all) {
      if (holds(text, "in the sum: no answer from rank " + std::to_string(victim) + " within 1 s"))
        ++named;
      else
        EXPECT_TRUE(text == "another says" || text == "slept" || text == "went on") << text;
    }
    EXPECT_EQ(named, 1);
  }
}

TEST(Sockets, RanksThatAreNotDoingTheSameFindOut) {
  const Said sizes = on_ranks(2, kPatient, [](const Communicator& comm) {
    gather_numbers(comm, std::vector<double>(comm.first() ? 1 : 2), "test");
    return std::string("went on");
  });
  EXPECT_TRUE(holds(sizes[0] + sizes[1], "bytes where"));
  const Said early = on_ranks(2, kPatient, [](const Communicator& comm) {
    if (comm.rank() == 1) gather_numbers(comm, {}, "test");
    return std::string("done");
  });
  EXPECT_EQ(early[0], "done");
  EXPECT_TRUE(holds(early[1], "rank 0 has already finished"));
}

std::string join_alone(const Communicator&) {
  return "joined";
}

TEST(Meeting, MissingRanksAreNamed) {
  const int port = free_port();
  std::vector<Process> processes;
  for (const int rank : {0, 2}) processes.push_back(start(rank_of(rank, 4, port), kShort, join_alone));
  const Said all = said(processes);
  EXPECT_TRUE(holds(all[0], "rank 1, rank 3 of 4 did not connect to 127.0.0.1:" + std::to_string(port)));
  EXPECT_EQ(all[1], "another says");
}

TEST(Meeting, ARankThatFindsNobodySaysWhere) {
  const int port = free_port();
  const std::string text = start(rank_of(1, 2, port), kShort, join_alone).said();
  EXPECT_TRUE(holds(text, "no answer at 127.0.0.1:" + std::to_string(port)));
  EXPECT_TRUE(holds(text, "within 1 s"));
}

TEST(Meeting, AnUnknownNameIsRefused) {
  LaunchedAs as = rank_of(1, 2, 29500);
  as.master_host = "no-such-host.invalid";
  EXPECT_TRUE(holds(start(as, kShort, join_alone).said(), "no-such-host.invalid"));
}

TEST(Meeting, APortThatIsTakenIsRefused) {
  const Socket other = listen_at({kHere, 0});
  const std::string text = start(rank_of(0, 2, own_end(other).port), kPatient, join_alone).said();
  EXPECT_TRUE(holds(text, "config: cannot listen at port " + std::to_string(own_end(other).port)));
  EXPECT_TRUE(holds(text, "choose another MASTER_PORT"));
}

TEST(Meeting, RanksOfDifferentRunsLearnTheDifferenceAndAreLetGo) {
  struct Case {
    LaunchedAs other;
    std::string phrase;
  };
  const Case cases[] = {{rank_of(1, 4, 0), " as one of 3, rank 1 as one of 4"},
                        {rank_of(2, 3, 0), "two processes were started as rank 2"}};
  for (Case c : cases) {
    const int port = c.other.master_port = free_port();
    std::vector<Process> processes;
    for (const int rank : {0, 2}) processes.push_back(start(rank_of(rank, 3, port), kPatient, join_alone));
    std::this_thread::sleep_for(milliseconds(300));
    const std::string other = start(c.other, kPatient, join_alone).said();
    EXPECT_TRUE(holds(other, "config: ")) << c.phrase;
    EXPECT_TRUE(holds(other, c.phrase));
    processes.push_back(start(rank_of(1, 3, port), kPatient, join_alone));
    EXPECT_EQ(said(processes), Said(3, "joined"));
  }
}

// How a rank ends that is asked to stop after so long, and how long that took.
std::string stopped_after(LaunchedAs as, milliseconds delay, std::vector<std::string>& said) {
  const auto begin = Clock::now();
  const Waiting waiting{.stop = [&] { return Clock::now() > begin + delay; },
                        .say = [&](const std::string& line) { said.push_back(line); }};
  try {
    join_ranks(as, kPatient, waiting);
    return "joined";
  } catch (const StoppedError& e) {
    return Clock::now() < begin + delay + seconds(2) ? e.what() : "late";
  }
}

TEST(Meeting, SaysForWhomItWaitsAndIsStopped) {
  for (const int rank : {0, 1}) {
    LaunchedAs as = rank_of(rank, 2, free_port());
    as.said_by = "A=1, B=2";
    as.to_unset = "A B";
    std::vector<std::string> lines;
    const std::string end = stopped_after(as, milliseconds(2500), lines);
    const std::string other = "waiting for rank " + std::to_string(1 - rank);
    EXPECT_TRUE(holds(end, other));
    ASSERT_EQ(lines.size(), 1u);
    for (const std::string& phrase :
         {other, as.master_host + ":" + std::to_string(as.master_port), as.said_by, "unset " + as.to_unset})
      EXPECT_TRUE(holds(lines[0], phrase));
    EXPECT_TRUE(holds(stopped_after(as, milliseconds(0), lines), other));
  }
}

TEST(Sockets, AStopEndsAWaitForARankThatHangs) {
  const int port = free_port();
  Process hangs = start(rank_of(1, 2, port), kPatient, [](const Communicator&) {
    std::this_thread::sleep_for(seconds(25));
    return std::string();
  });
  const auto begin = Clock::now();
  const Waiting waiting{.stop = [&] { return Clock::now() > begin + seconds(1); }};
  Process waits([&] {
    const std::unique_ptr<HostRanks> ranks = join_ranks(rank_of(0, 2, port), kPatient, waiting);
    gather_numbers(*ranks, {}, "test");
    return std::string("went on");
  });
  EXPECT_TRUE(holds(waits.said(), "in the test: a signal requested a stop, but rank 1 did not answer for 1"));
  EXPECT_LT(Clock::now() - begin, seconds(20));
}

// Connects to a rank 0 that waits, says `text` and stays, or goes.
std::vector<Socket> strangers(int port, int count, const std::string& text, bool stay) {
  std::vector<Socket> all;
  for (int i = 0; i < count; ++i) {
    Socket one;
    while (!one) one = connect_to({kHere, port}, Clock::now() + seconds(5));
    send_some(one, std::as_bytes(std::span(text)));
    if (stay) all.push_back(std::move(one));
  }
  return all;
}

TEST(Meeting, StrangersOnThePortChangeNothing) {
  const std::string half_a_greeting = "\x01\x8a\x73\x61\x73\x6c\x73\x6d\x01";
  const std::string a_rank_that_cannot_be =
      half_a_greeting + std::string("\0\0\0\2\0\0\0\xff\xff\xff\xff", 11) + std::string(12, '\xff');
  struct Case {
    int count;
    std::string text;
    bool stay;
  };
  const Case cases[] = {{1, "", true},
                        {1, "", false},
                        {1, "GET / HTTP/1.1\r\n\r\n", true},
                        {1, half_a_greeting, true},
                        {1, a_rank_that_cannot_be, true},
                        {100, "", true},
                        {400, std::string(10000, '\xff'), false}};
  for (const Case& c : cases) {
    const int port = free_port();
    std::vector<Process> processes;
    processes.push_back(start(rank_of(0, 2, port), kPatient, join_alone));
    const std::vector<Socket> there = strangers(port, c.count, c.text, c.stay);
    processes.push_back(start(rank_of(1, 2, port), kPatient, join_alone));
    EXPECT_EQ(said(processes), Said(2, "joined")) << c.count << c.text.substr(0, 20);
  }
}

TEST(Meeting, AnotherProgramInRankZerosPlaceIsRefused) {
  const Socket other = listen_at({kHere, 0});
  Process rank = start(rank_of(1, 2, own_end(other).port), kPatient, join_alone);
  Socket visitor;
  while (!visitor) visitor = accept_from(other);
  send_some(visitor, std::as_bytes(std::span("220 mail.example ESMTP ready")));
  EXPECT_TRUE(holds(rank.said(), "is not rank 0 of this build of saslm"));
}

TEST(Meeting, RankZeroMayInheritTheListener) {
  const Socket listener = listen_at({kHere, 0});
  std::vector<Process> processes;
  for (const int rank : {1, 0}) {
    LaunchedAs as = rank_of(rank, 2, own_end(listener).port);
    as.listener = listener.fd();
    processes.push_back(start(as, kPatient, join_alone));
  }
  EXPECT_EQ(said(processes), Said(2, "joined"));
  LaunchedAs wrong = rank_of(0, 2, 29500);
  wrong.listener = STDIN_FILENO;
  EXPECT_TRUE(holds(start(wrong, kShort, join_alone).said(), "nothing listens there"));
}

}  // namespace
}  // namespace saslm
