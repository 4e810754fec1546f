#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "metrics/metrics_log.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

struct Metrics : testing::Test {
  void write(const std::string& text) const { atomic_write_file(path, text); }
  const test::OwnFolder own;
  const std::string& dir = own.path();
  const std::string path = own / "metrics.jsonl";
};

std::string step_line(int64_t step) {
  return R"({"event":"step","step":)" + std::to_string(step) + R"(,"loss":1.5})" + "\n";
}

TEST_F(Metrics, LinesHaveTheirKeysInTheDocumentedOrder) {
  MetricsLog log(path);
  log.log("start", {{"version", "1"}});
  log.log_step({0, 10.5, 2, 0.1, 64, 3.25, 19692.5, std::nullopt, std::nullopt, std::nullopt, 8, 8});
  log.log_step({1, 10.5, 2, 0.1, 64, 3.25, 19692.5, 0.5, 0.125, "loss is not finite", 16, 8});
  log.log_eval({2, 3.5, 33.25, 1000, 1.25, 50, 7.5});
  log.log_eval({3, 3.5, 33.25, 1000});  // of a text whose bytes are not known
  log.log_checkpoint({2, "checkpoints/step_00000002", 4096, 12.5, 0.5, "00ff", ""});
  EXPECT_EQ(read_file(path),
            R"({"event":"start","version":"1"}
{"event":"step","step":0,"loss":10.5,"grad_norm":2.0,"lr":0.1,"tokens":64,"step_ms":3.25,"tokens_per_s":19692.5,"mfu":null}
{"event":"step","step":1,"loss":10.5,"grad_norm":2.0,"lr":0.1,"tokens":64,"step_ms":3.25,"tokens_per_s":19692.5,"mfu":0.5,"aux_loss":0.125,"skipped":"loss is not finite","first_sample":16,"samples":8}
{"event":"eval","step":2,"val_loss":3.5,"val_ppl":33.25,"val_tokens":1000,"val_bpb":1.25,"sequences":50,"eval_ms":7.5}
{"event":"eval","step":3,"val_loss":3.5,"val_ppl":33.25,"val_tokens":1000,"val_bpb":null,"sequences":0,"eval_ms":0.0}
{"event":"checkpoint","step":2,"path":"checkpoints/step_00000002","bytes":4096,"save_ms":12.5,"stall_ms":0.5,"state_hash":"00ff"}
)");
}

TEST_F(Metrics, NumbersSurviveTheRoundTripAndNonFiniteOnesAreNull) {
  const double awkward[] = {0.1, 1 / 3.0, 5e-324, 1.7976931348623157e308, 6e-4, double(0.1f)};
  for (const double value : awkward) {
    std::filesystem::remove(path);
    MetricsLog(path).log_eval({0, value, std::numeric_limits<double>::infinity(), 0});
    const auto line = nlohmann::json::parse(read_file(path));
    EXPECT_EQ(line["val_loss"].get<double>(), value);
    EXPECT_TRUE(line["val_ppl"].is_null());
  }
}

TEST_F(Metrics, ResumeKeepsExactlyWhatTheCheckpointHadSeen) {
  const std::string start = R"({"event":"start","steps":4})"
                            "\n",
                    resume = R"({"event":"resume","step":9})"
                             "\n",
                    end = R"({"event":"end","step":4})"
                          "\n",
                    note = R"({"event":"warning","text":"x"})"
                           "\n";
  const auto at = [](const std::string& kind, int64_t step) {
    return R"({"event":")" + kind + R"(","step":)" + std::to_string(step) + "}\n";
  };
  write(start + at("eval", 0) + step_line(0) + step_line(1) + note + at("eval", 2) + at("checkpoint", 2) +
        resume + step_line(2) + at("eval", 3) + at("checkpoint", 3) + at("spike", 3) + at("spike", 2) + end);
  MetricsLog log(path);
  const ResumeReport report = log.resume(2);
  EXPECT_EQ(read_file(path), start + at("eval", 0) + step_line(0) + step_line(1) + note + at("eval", 2) +
                                 at("checkpoint", 2) + resume + at("spike", 2));
  EXPECT_EQ(report.kept, 9);
  EXPECT_EQ(report.dropped, 5);
  EXPECT_EQ(report.invalid, 0);
  EXPECT_EQ(report.last_eval_step, 2);
  EXPECT_EQ(report.last_checkpoint_step, 2);
  log.log("resume", {{"step", 2}});  // goes to the new file, at its end
  EXPECT_TRUE(read_file(path).ends_with(at("spike", 2) + at("resume", 2)));
}

TEST_F(Metrics, TheCheckpointsOwnEvaluationGoesWhereOthersAreWanted) {
  const std::string before = R"({"event":"eval","step":0,"val_loss":3.0})"
                             "\n" +
                             step_line(0);
  const std::string last = R"({"event":"eval","step":1,"val_loss":2.0})"
                           "\n";
  write(before + last);
  EXPECT_EQ(MetricsLog(path).resume(1, true).last_eval_step, 0);
  EXPECT_EQ(read_file(path), before);
  write(before + last);
  EXPECT_EQ(MetricsLog(path).resume(1).last_eval_step, 1);
  EXPECT_EQ(read_file(path), before + last);
}

TEST_F(Metrics, ResumeWithoutACheckpointKeepsNoStep) {
  const std::string start = R"({"event":"start"})"
                            "\n";
  write(start +
        R"({"event":"eval","step":0})"
        "\n" +
        step_line(0));
  const ResumeReport report = MetricsLog(path).resume(MetricsLog::kNoCheckpoint);
  EXPECT_EQ(read_file(path), start);
  EXPECT_FALSE(report.last_eval_step);
  EXPECT_FALSE(report.last_checkpoint_step);
}

TEST_F(Metrics, ATornLastLineIsDroppedAtEveryLength) {
  const std::string whole = step_line(0), last = step_line(1);
  for (size_t length = 1; length < last.size(); ++length) {
    write(whole + last.substr(0, length));
    const ResumeReport report = MetricsLog(path).resume(5);
    ASSERT_EQ(read_file(path), whole) << length;
    ASSERT_EQ(report.invalid, 1) << length;
  }
}

TEST_F(Metrics, InvalidLinesAreDroppedAndCounted) {
  write("\n" + step_line(0) +
        "{\"event\":\n[]\n{\"step\":1}\n{\"event\":\"step\"}\n{\"event\":\"eval\",\"step\":\"1\"}\n" +
        std::string(50, '\0') + "\n" + step_line(1));
  const ResumeReport report = MetricsLog(path).resume(5);
  EXPECT_EQ(read_file(path), step_line(0) + step_line(1));
  EXPECT_EQ(report.kept, 2);
  EXPECT_EQ(report.invalid, 7);
}

TEST_F(Metrics, ResumeOfAnEmptyLogIsEmpty) {
  const ResumeReport report = MetricsLog(path).resume(3);
  EXPECT_EQ(report.kept + report.dropped + report.invalid, 0);
  EXPECT_EQ(read_file(path), "");
}

// A disk that is full after 100 bytes, in a child of its own; it has space again later.
TEST_F(Metrics, ALineThatDoesNotFitLeavesNoPartAndIsWrittenWithTheNextThatDoes) {
  write(step_line(0));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    MetricsLog log(path);
    const rlimit small = {100, RLIM_INFINITY}, large = {RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &small);
    log.log("note", {{"text", std::string(200, 'x')}});
    bool told = !log.problem().empty() && read_file(path) == step_line(0);
    try {
      log.sync();
      told = false;
    } catch (const IoError&) {
    }
    ::setrlimit(RLIMIT_FSIZE, &large);
    log.log("note", {{"text", "y"}});
    ::_exit(told && log.problem().empty() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path), step_line(0) + R"({"event":"note","text":")" + std::string(200, 'x') + "\"}\n" +
                                 R"({"event":"note","text":"y"})" + "\n");
}

}  // namespace
}  // namespace saslm
