// A save under what machines do to it: kills, full disks, failing fsyncs. Each runs in a child process of its
// own, whose exit status says how it went.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>

#include "checkpoint/checkpoint.h"
#include "tests/checkpoint/fixture.h"

namespace {
std::atomic<int> g_fsyncs_until_failure = -1;  // below zero: none fails
std::atomic<bool> g_can_exchange = true;
}  // namespace

// Stands before libc's in this program: the fsync that is counted down to fails as a dying disk's does.
extern "C" int fsync(int fd) {
  if (g_fsyncs_until_failure.load() >= 0 && g_fsyncs_until_failure.fetch_sub(1) == 0) {
    errno = EIO;
    return -1;
  }
  return int(::syscall(SYS_fsync, fd));
}

// The same for file systems that cannot exchange two names.
extern "C" int renameat2(int old_dir, const char* old_path, int new_dir, const char* new_path,
                         unsigned flags) noexcept {
  if (g_can_exchange) return int(::syscall(SYS_renameat2, old_dir, old_path, new_dir, new_path, flags));
  errno = EINVAL;
  return -1;
}

namespace saslm {
namespace {

using namespace test;

constexpr int kSkipped = 77, kThrew = 3;

// Exit status of a child that runs `body`.
int status_of(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = kThrew;
    try {
      status = body();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::optional<Checkpoint> newest(const std::string& dir) {
  return find_newest_valid(dir, [](const std::string& path, const std::string& why) {
    ADD_FAILURE() << path << " was left in a bad state: " << why;
  });
}

TinyModel loaded(const Checkpoint& checkpoint) {
  TinyModel tiny(0);
  load_checkpoint(checkpoint, tiny.model(), tiny.optimizer());
  return tiny;
}

// Starts `body` in a child and kills it when it enters its system call number `n`. Returns whether that was
// before its end.
bool killed_at_call(int n, const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  for (int stops = 0; WIFSTOPPED(status) && stops < 2 * n + 1; ++stops) {  // a stop to enter, one to leave
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
  }
  if (!WIFSTOPPED(status)) return false;
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return true;
}

bool can_trace() {
  return status_of([] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : kSkipped; }) == 0;
}

TEST(CheckpointFaults, KilledAtEverySystemCallOfASaveTheOldOrTheNewOneIsWhole) {
  if (!can_trace()) GTEST_SKIP() << "no ptrace here";
  bool saw_old = false, saw_new = false;
  for (int call = 0;; ++call) {
    const Folder folder;
    save_tiny(folder.path(), 1, 1);
    const bool killed = killed_at_call(call, [&] { save_tiny(folder.path(), 2, 2); });
    const auto found = newest(folder.path());
    ASSERT_TRUE(found) << "killed at call " << call;
    ASSERT_EQ(loaded(*found), TinyModel(float(found->step()))) << "killed at call " << call;
    (found->step() == 1 ? saw_old : saw_new) = true;
    remove_stale(folder.path());
    save_tiny(folder.path(), 2, 2);  // what the resumed run does
    ASSERT_EQ(list_dir(folder.path()), (std::vector<std::string>{"step_00000001", "step_00000002"}));
    if (!killed) break;
    ASSERT_LT(call, 1000);
  }
  EXPECT_TRUE(saw_old && saw_new);
}

TEST(CheckpointFaults, KilledAtEverySystemCallOfAReplacementTheNameIsAlwaysWhole) {
  if (!can_trace()) GTEST_SKIP() << "no ptrace here";
  for (int call = 0;; ++call) {
    const Folder folder;
    save_tiny(folder.path(), 2, 1);
    const bool killed = killed_at_call(call, [&] { save_tiny(folder.path(), 2, 2); });
    const auto found = newest(folder.path());
    ASSERT_TRUE(found) << "killed at call " << call;
    const TinyModel tiny = loaded(*found);
    ASSERT_TRUE(tiny == TinyModel(1) || tiny == TinyModel(2)) << "killed at call " << call;
    if (!killed) break;
  }
}

TEST(CheckpointFaults, KilledAtEverySystemCallOfAPruneNoHalfDeletedOneIsLeft) {
  if (!can_trace()) GTEST_SKIP() << "no ptrace here";
  for (int call = 0;; ++call) {
    const Folder folder;
    for (const int64_t step : {1, 2, 3}) save_tiny(folder.path(), step, float(step));
    const bool killed = killed_at_call(call, [&] { prune_checkpoints(folder.path(), {.keep_last = 1}); });
    for (const CheckpointEntry& entry : list_checkpoints(folder.path())) {
      ASSERT_NO_THROW(verify_checkpoint(entry.path)) << "killed at call " << call;
    }
    ASSERT_EQ(newest(folder.path())->step(), 3) << "killed at call " << call;
    if (!killed) break;
  }
}

TEST(CheckpointFaults, AFailedFsyncVoidsTheSaveAndTheNextOneSucceeds) {
  int failures = 0;
  for (int n = 0;; ++n) {
    const Folder folder;
    save_tiny(folder.path(), 1, 1);
    g_fsyncs_until_failure = n;
    bool failed = false;
    try {
      save_tiny(folder.path(), 2, 2);
    } catch (const IoError& e) {
      failed = true;
      EXPECT_CONTAINS(std::string(e.what()), "fsync");
    }
    g_fsyncs_until_failure = -1;
    if (!failed) break;
    ++failures;
    // Only once all that it consists of is on the disk may it have its name: of eight fsyncs one comes after.
    EXPECT_EQ(path_exists(folder / "step_00000002"), n == 7);
    EXPECT_TRUE(newest(folder.path()));
    EXPECT_EQ(verify_checkpoint(folder / "step_00000001").step(), 1);
    save_tiny(folder.path(), 2, 3);
    EXPECT_EQ(loaded(*newest(folder.path())), TinyModel(3));
    EXPECT_EQ(list_dir(folder.path()), (std::vector<std::string>{"step_00000001", "step_00000002"}));
  }
  EXPECT_EQ(failures, 8);  // the temporary folder's own name, five files, the folder, its final name
}

TEST(CheckpointFaults, WithoutExchangeOfNamesAReplacementStillReplaces) {
  const Folder folder;
  save_tiny(folder.path(), 2, 1);
  g_can_exchange = false;
  save_tiny(folder.path(), 2, 2);
  g_can_exchange = true;
  EXPECT_EQ(loaded(*newest(folder.path())), TinyModel(2));
  EXPECT_EQ(list_dir(folder.path()), std::vector<std::string>{"step_00000002"});
}

// A file system of `bytes`, seen by this process alone.
bool mount_small_disk(const std::string& path, const std::string& bytes) {
  if (::unshare(CLONE_NEWNS) != 0) {
    const std::string uid = std::to_string(::getuid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    write_file("/proc/self/uid_map", "0 " + uid + " 1");
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("saslm", path.c_str(), "tmpfs", 0, ("size=" + bytes).c_str()) == 0;
}

// 0 when a model of `count` weights cannot be saved, says so, and leaves the older checkpoint and nothing
// else.
int big_save_fails_cleanly(const std::string& dir, size_t count) {
  const std::vector<float> weights(count, 1);
  const std::vector<ConstNamedTensor> model = {{"w", {int64_t(count)}, weights}};
  try {
    save_checkpoint(dir, {2, model, model, "{}", "{}"});
    return 10;
  } catch (const IoError&) {
  }
  if (list_dir(dir) != std::vector<std::string>{"step_00000001"}) return 11;
  return verify_checkpoint(dir + "/step_00000001").step() == 1 ? 0 : 12;
}

TEST(CheckpointFaults, AFullDiskIsAnIoErrorAndLeavesTheOlderOneAlone) {
  const Folder folder;
  const int status = status_of([&] {
    if (!mount_small_disk(folder.path(), "1m")) return kSkipped;
    save_tiny(folder.path(), 1, 1);
    // The model alone, then only both together are too big; then what is left of the disk is used once more.
    for (const size_t count : {size_t(400'000), size_t(150'000)}) {
      if (const int bad = big_save_fails_cleanly(folder.path(), count)) return bad;
    }
    save_tiny(folder.path(), 2, 2);
    return verify_checkpoint(folder / "step_00000002").step() == 2 ? 0 : 13;
  });
  if (status == kSkipped) GTEST_SKIP() << "no private mounts here";
  EXPECT_EQ(status, 0);
}

TEST(CheckpointFaults, AFileSizeLimitIsAnIoErrorAndLeavesTheOlderOneAlone) {
  for (const rlim_t limit : {0, 1, 100, 300, 400, 1000, 4000, 40000}) {
    const Folder folder;
    save_tiny(folder.path(), 1, 1);
    const int status = status_of([&] {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit bytes = {limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &bytes);
      return big_save_fails_cleanly(folder.path(), 10'000);
    });
    EXPECT_EQ(status, 0) << "limit " << limit;
  }
}

}  // namespace
}  // namespace saslm
