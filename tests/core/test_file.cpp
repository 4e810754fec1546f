#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

struct FileTest : testing::Test {
  const test::OwnFolder own;
  const std::string& dir = own.path();
};

TEST_F(FileTest, AtomicWriteReplacesTheWholeFileAndLeavesNothingElse) {
  const std::string path = dir + "/a";
  atomic_write_file(path, "a long first text");
  atomic_write_file(path, "short");
  EXPECT_EQ(read_file(path), "short");
  EXPECT_EQ(list_dir(dir), std::vector<std::string>{"a"});
}

TEST_F(FileTest, AtomicWriteThatFailsKeepsTheOldFileAndLeavesNothingElse) {
  std::filesystem::create_directory(dir + "/a");  // a folder cannot be replaced by a file
  EXPECT_THROW(atomic_write_file(dir + "/a", "text"), IoError);
  EXPECT_EQ(list_dir(dir), std::vector<std::string>{"a"});
}

TEST_F(FileTest, MissingFileIsAnIoErrorWithCallPathAndReason) {
  try {
    read_file(dir + "/absent");
    FAIL() << "nothing was thrown";
  } catch (const IoError& e) {
    EXPECT_EQ(std::string(e.what()), "open " + dir + "/absent: No such file or directory");
  }
}

TEST_F(FileTest, ReadingPastTheEndIsAnIoError) {
  atomic_write_file(dir + "/a", "12345");
  const File file(dir + "/a", O_RDONLY);
  std::array<std::byte, 4> out;
  EXPECT_NO_THROW(file.pread_all(out, 1));
  EXPECT_EQ(char(out[3]), '5');
  EXPECT_THROW(file.pread_all(out, 2), IoError);
}

// A pipe holds 64 KiB and its reader dawdles, so the timer's signal finds the write half done, or not begun.
TEST_F(FileTest, ShortAndInterruptedWritesAreCompleted) {
  ASSERT_EQ(::mkfifo((dir + "/pipe").c_str(), 0600), 0);
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) {};  // without SA_RESTART: system calls return EINTR
  ::sigaction(SIGALRM, &action, &before);
  const std::string sent(1 << 20, 'x');
  std::string got;
  std::thread reader([&] {
    sigset_t alarm;  // the signal is for the writer
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    ::pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
    const File pipe(dir + "/pipe", O_RDONLY);
    std::array<char, 65536> part;
    for (ssize_t n; (n = ::read(pipe.fd(), part.data(), part.size())) > 0; ::usleep(4000)) {
      got.append(part.data(), size_t(n));
    }
  });
  {
    File pipe(dir + "/pipe", O_WRONLY);
    const itimerval every = {{0, 1000}, {0, 1000}}, never = {};
    ::setitimer(ITIMER_REAL, &every, nullptr);
    pipe.write_all(bytes_of(sent));
    ::setitimer(ITIMER_REAL, &never, nullptr);
  }
  reader.join();
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_EQ(got, sent);
}

TEST_F(FileTest, WritesAtAnOffsetAndReadsAsAStream) {
  File file(dir + "/a", O_RDWR | O_CREAT);
  file.pwrite_all(bytes_of("cde"), 2);
  file.pwrite_all(bytes_of("ab"), 0);
  std::array<char, 4> part;
  EXPECT_EQ(file.read_some(std::as_writable_bytes(std::span(part))), 4);
  EXPECT_EQ(std::string(part.begin(), part.end()), "abcd");
  EXPECT_EQ(file.read_some(std::as_writable_bytes(std::span(part))), 1);
  EXPECT_EQ(part[0], 'e');
}

TEST_F(FileTest, IdentityIsTheFilesAndNotThePaths) {
  const File a(dir + "/a", O_WRONLY | O_CREAT), b(dir + "/b", O_WRONLY | O_CREAT);
  std::filesystem::create_hard_link(dir + "/a", dir + "/c");
  EXPECT_EQ(File(dir + "/c", O_RDONLY).identity(), a.identity());
  EXPECT_NE(a.identity(), b.identity());
}

TEST_F(FileTest, PreallocationReservesTheBytes) {
  File file(dir + "/a", O_WRONLY | O_CREAT);
  file.preallocate(0);
  EXPECT_EQ(file.size(), 0);
  file.preallocate(10000);
  EXPECT_EQ(file.size(), 10000);
}

TEST_F(FileTest, MoreThanTheDiskHoldsCannotBeReserved) {
  File file(dir + "/a", O_WRONLY | O_CREAT);
  EXPECT_THROW(file.preallocate(int64_t(1) << 50), IoError);
}

TEST_F(FileTest, FoldersAreMadeWithParentsListedAndRemoved) {
  make_dirs(dir + "/x/y/z");
  make_dirs(dir + "/x/y/z");
  atomic_write_file(dir + "/x/b", "");
  EXPECT_EQ(list_dir(dir + "/x"), (std::vector<std::string>{"b", "y"}));
  remove_tree(dir + "/x");
  remove_tree(dir + "/x");
  EXPECT_FALSE(path_exists(dir + "/x"));
  EXPECT_TRUE(list_dir(dir + "/x").empty());
}

TEST_F(FileTest, MovedFileIsClosedOnce) {
  File a(dir + "/a", O_WRONLY | O_CREAT), b(dir + "/b", O_WRONLY | O_CREAT);
  const int fd = a.fd();
  b = std::move(a);
  EXPECT_EQ(b.fd(), fd);
  EXPECT_EQ(b.path(), dir + "/a");
  b.write_all(bytes_of("still open"));
  EXPECT_EQ(read_file(dir + "/a"), "still open");
}

}  // namespace
}  // namespace saslm
