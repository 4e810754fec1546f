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

TEST(RunLock, ADirectoryThatCannotBeMadeIsAnIoError) {
  const Folder folder;
  write_file(folder / "file", "");
  EXPECT_THROW(RunLock{folder / "file/run"}, IoError);
}

}  // namespace
}  // namespace saslm
