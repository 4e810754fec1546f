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

std::string refusal_of(const std::string& path, int flags) {
  try {
    const File file(path, flags);
    return "opened";
  } catch (const WrongKindError& e) {
    return e.what();
  }
}

TEST_F(FileTest, WhatIsNoRegularFileIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((dir + "/pipe").c_str(), 0600), 0);  // without a writer: opening it plainly would hang
  const std::string not_regular = ": not a regular file but a ";
  for (const int flags : {O_RDONLY, O_RDWR, O_RDWR | O_CREAT | O_APPEND})
    EXPECT_EQ(refusal_of(dir + "/pipe", flags), dir + "/pipe" + not_regular + "pipe");
  const std::string written = refusal_of(dir + "/pipe", O_WRONLY);  // which some kernels refuse by themselves
  EXPECT_TRUE(written.starts_with(dir + "/pipe" + not_regular + "pipe")) << written;
  EXPECT_EQ(refusal_of(dir, O_RDONLY), dir + not_regular + "folder");
  EXPECT_EQ(refusal_of("/dev/null", O_RDONLY), "/dev/null" + not_regular + "device");
  EXPECT_THROW(read_file(dir + "/pipe"), WrongKindError);
}

TEST_F(FileTest, NothingIsWrittenThroughALink) {
  atomic_write_file(dir + "/others", "precious");
  std::filesystem::create_symlink(dir + "/others", dir + "/link");
  std::filesystem::create_symlink(dir + "/absent", dir + "/dangling");
  const std::string through_a_link =
      ": not a regular file but a symbolic link, which saslm does not write through; remove it";
  for (const int flags :
       {O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT, O_WRONLY, O_RDWR | O_CREAT | O_APPEND})
    for (const char* name : {"/link", "/dangling"})
      EXPECT_EQ(refusal_of(dir + name, flags), dir + name + through_a_link);
  EXPECT_FALSE(std::filesystem::exists(dir + "/absent"));
  EXPECT_EQ(read_file(dir + "/link"), "precious");  // reading may follow one
}

TEST_F(FileTest, AtomicWriteReplacesALinkAndFollowsNone) {
  atomic_write_file(dir + "/others", "precious");
  std::filesystem::create_symlink(dir + "/others", dir + "/a");
  std::filesystem::create_symlink(dir + "/others", dir + "/a.tmp_" + std::to_string(::getpid()));
  atomic_write_file(dir + "/a", "text");
  EXPECT_EQ(read_file(dir + "/others"), "precious");
  EXPECT_EQ(read_file(dir + "/a"), "text");
  EXPECT_FALSE(std::filesystem::is_symlink(dir + "/a"));
  EXPECT_EQ(list_dir(dir), (std::vector<std::string>{"a", "others"}));
}

TEST_F(FileTest, AFileThatIsFarTooLargeIsNotRead) {
  atomic_write_file(dir + "/a", "12345");
  EXPECT_EQ(read_file(dir + "/a", 5), "12345");
  EXPECT_THROW(read_file(dir + "/a", 4), SizeError);
  std::filesystem::resize_file(dir + "/a", uintmax_t(3) << 30);  // sparse
  EXPECT_THROW(read_file(dir + "/a"), SizeError);
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
    const File pipe = File::stream(dir + "/pipe");
    std::array<char, 65536> part;
    for (ssize_t n; (n = ::read(pipe.fd(), part.data(), part.size())) > 0; ::usleep(4000)) {
      got.append(part.data(), size_t(n));
    }
  });
  {
    File pipe(dir + "/stand_in", O_WRONLY | O_CREAT);  // nobody writes to pipes by File, which refuses them
    const int writer = ::open((dir + "/pipe").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(::dup2(writer, pipe.fd()), 0);
    ::close(writer);
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
