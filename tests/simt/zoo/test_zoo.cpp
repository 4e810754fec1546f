// Every planted bug is caught by the builds that its table names, in their words; sound kernels raise no
// alarm. Each kernel runs in a child process, since AddressSanitizer ends it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>

#include "kernels/simt/schedules.h"
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {

void PrintTo(const Bug& bug, std::ostream* out) {
  *out << bug.name;
}

namespace {

constexpr const char* Bug::*says(Build build) {
  return build == Build::plain ? &Bug::plain : build == Build::asan ? &Bug::asan : &Bug::race;
}

std::vector<float> run_once(const Bug& bug, LaunchOptions options) {
  const std::unique_ptr<float, decltype(&std::free)> o(
      static_cast<float*>(std::aligned_alloc(16, kFloats * sizeof(float))), std::free);
  std::iota(o.get(), o.get() + kFloats, 0.0f);
  launch(bug.kernel, bug.blocks, bug.threads, bug.shared_bytes, Stream{&options}, o.get());
  return {o.get(), o.get() + kFloats};
}

// What is wrong with the kernel, if anything shows.
std::string examine(const Bug& bug) {
  std::optional<std::vector<float>> first;
  for (const LaunchOptions& options : all_schedules()) {
    try {
      const std::vector<float> o = run_once(bug, options);
      for (const float x : o)
        if (std::isnan(x)) return std::string(kNan) + ", " + describe(options);
      if (!first) first = o;
      if (o != *first) return std::string(kDepends) + ", " + describe(options);
    } catch (const Fault& fault) {
      return std::string(fault.what()) + ", " + describe(options);
    }
  }
  return "";
}

std::string examine_in_child(const Bug& bug) {
  int ends[2];
  if (pipe(ends) != 0) throw IoError::from_errno("pipe", "a child's report");
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);  // where sanitizers write
    const std::string report = examine(bug);
    const ssize_t written = write(ends[1], report.data(), report.size());
    _exit(written == ssize_t(report.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string report;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) report.append(buffer, size_t(n));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return report;
}

std::vector<Bug> all(std::initializer_list<std::vector<Bug>> parts) {
  std::vector<Bug> bugs;
  for (const std::vector<Bug>& part : parts) bugs.insert(bugs.end(), part.begin(), part.end());
  return bugs;
}
std::vector<Bug> all_bugs() {
  return all({barrier_bugs(), warp_bugs(), memory_bugs(), copy_bugs(), sm90_bugs()});
}
std::vector<Bug> bugs_for_this_build() {
  std::vector<Bug> bugs = all_bugs();
  std::erase_if(bugs, [](const Bug& bug) { return bug.*says(this_build()) == nullptr; });
  return bugs;
}
std::string identifier(const ::testing::TestParamInfo<Bug>& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

class BugZoo : public ::testing::TestWithParam<Bug> {};
TEST_P(BugZoo, IsCaught) {
  const char* wanted = GetParam().*says(this_build());
  const std::string report = examine_in_child(GetParam());
  EXPECT_NE(report.find(wanted), std::string::npos) << "wanted: " << wanted << "\ngot: " << report;
}
INSTANTIATE_TEST_SUITE_P(All, BugZoo, ::testing::ValuesIn(bugs_for_this_build()), identifier);

class SoundKernel : public ::testing::TestWithParam<Bug> {};
TEST_P(SoundKernel, RaisesNoAlarm) {
  EXPECT_EQ(examine_in_child(GetParam()), "");
}
INSTANTIATE_TEST_SUITE_P(All, SoundKernel, ::testing::ValuesIn(all({sound_kernels(), sound_sm90_kernels()})),
                         identifier);

TEST(BugZooTable, EveryBugHasABuildThatCatchesIt) {
  const std::vector<Bug> bugs = all_bugs();
  EXPECT_GE(bugs.size(), 23u);
  for (const Bug& bug : bugs) EXPECT_TRUE(bug.plain || bug.asan || bug.race) << bug.name;
}

}  // namespace
}  // namespace saslm::simt::zoo
