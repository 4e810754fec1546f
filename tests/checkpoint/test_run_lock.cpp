#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "checkpoint/run_lock.h"
#include "tests/checkpoint/fixture.h"

namespace saslm {
namespace {

using namespace test;

TEST(RunLock, TheSecondIsRefusedAndToldByWhom) {
  const Folder folder;
  const std::string run = folder / "new/run";
  const RunLock lock(run);
  const std::string message = message_of<ConfigError>([&] { RunLock{run}; });
  EXPECT_CONTAINS(message, run);
  EXPECT_CONTAINS(message, "process " + std::to_string(::getpid()) + " on host ");
}

TEST(RunLock, IsFreeOnceItsHolderIsGone) {
  const Folder folder;
  { const RunLock lock(folder.path()); }
  const RunLock lock(folder.path());
  EXPECT_CONTAINS(read_file(folder / ".lock"), "process " + std::to_string(::getpid()) + " ");
}

TEST(RunLock, AKilledHoldersLockIsFreeByItself) {
  const Folder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock lock(folder.path());
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]), ::close(ready[1]);
  EXPECT_CONTAINS(message_of<ConfigError>([&] { RunLock{folder.path()}; }), std::to_string(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(RunLock{folder.path()});
}

// What each of several processes is told that ask at the same instant: "" of one that got the lock.
std::vector<std::string> race(const std::string& run, size_t count) {
  int start[2], over[2];
  EXPECT_EQ(::pipe(start) + ::pipe(over), 0);
  std::vector<int> told;
  std::vector<pid_t> children;
  for (size_t i = 0; i < count; ++i) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    children.push_back(::fork());
    if (children.back() == 0) {
      std::string text(1, '\0');
      ::close(start[1]), ::close(over[1]);
      if (::read(start[0], text.data(), 1) != 0) ::_exit(1);  // until all are there
      text.clear();
      std::optional<RunLock> lock;
      try {
        lock.emplace(run);
      } catch (const ConfigError& e) {
        text = e.what();
      } catch (const std::exception& e) {
        text = std::string("a riddle: ") + e.what();
      }
      text += "\n" + std::to_string(::getpid());
      if (::write(ends[1], text.data(), text.size()) < 0) ::_exit(1);
      if (::read(over[0], text.data(), 1) != 0) ::_exit(1);  // whoever has it keeps it so long
      ::_exit(0);
    }
    ::close(ends[1]);
    told.push_back(ends[0]);
  }
  ::close(start[0]), ::close(start[1]), ::close(over[0]);
  std::vector<std::string> all;
  for (const int one : told) {
    std::string text(4096, '\0');
    text.resize(size_t(std::max<ssize_t>(::read(one, text.data(), text.size()), 0)));
    all.push_back(text);
    ::close(one);
  }
  ::close(over[1]);
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  return all;
}

TEST(RunLock, OfThoseWhoAskAtTheSameInstantOneGetsItAndTheOthersAreToldWhich) {
  const Folder folder;
  for (int number = 0; number < 300; ++number) {  // now in a new folder, now in one whose last holder is gone
    const std::string run = folder / ("run" + std::to_string(number / 2));
    std::string winner;
    const std::vector<std::string> told = race(run, 4);
    for (const std::string& one : told)
      if (one.starts_with("\n")) winner += one.substr(1);
    for (const std::string& one : told) {
      if (one.starts_with("\n")) continue;
      EXPECT_CONTAINS(one, "is in use by process " + winner + " on host ");
    }
  }
}

TEST(RunLock, KnowsThatItWasLost) {
  const Folder folder;
  RunLock lock(folder.path());
  EXPECT_NO_THROW(lock.keep());
  std::filesystem::remove(folder / ".lock");
  {
    RunLock other(folder.path());
    EXPECT_NO_THROW(other.keep());
    const std::string message = message_of<ConfigError>([&] { lock.keep(); });
    EXPECT_CONTAINS(message, "taken over by process " + std::to_string(::getpid()) + " on host ");
    EXPECT_EQ(message.find("\n"), message.npos);
  }
  EXPECT_THROW(lock.keep(), ConfigError);  // the other may have saved something
}

TEST(RunLock, IsTakenAgainWhereTheFolderIsGone) {
  const Folder folder;
  const std::string run = folder / "run";
  RunLock lock(run);
  std::filesystem::remove_all(run);
  lock.keep();
  EXPECT_THROW(RunLock{run}, ConfigError);
}

TEST(RunLock, ADirectoryThatCannotBeMadeIsAnIoError) {
  const Folder folder;
  write_file(folder / "file", "");
  EXPECT_THROW(RunLock{folder / "file/run"}, IoError);
}

}  // namespace
}  // namespace saslm
