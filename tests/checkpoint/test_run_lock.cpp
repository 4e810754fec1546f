#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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
