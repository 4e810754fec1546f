// How far kernels are from their twins, for a table of it (scripts/twin_table.py): where SASLM_TWIN_LOG names
// a file, each comparison appends a line of JSON to it,
//
//   {"test": "SimtNorm/0.IsItsTwin", "result": "dx", "type": "bf16", "largest": 0.0078, "share": 0.41}
//
// the largest difference of an element, and the largest share of what was allowed to one.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace saslm {

class TwinLog {
 public:
  TwinLog(const char* result, const char* type) : result_(result), type_(type) {}
  ~TwinLog() {
    const char* const path = std::getenv("SASLM_TWIN_LOG");
    if (!path) return;
    std::FILE* const file = std::fopen(path, "a");
    if (!file) {
      ADD_FAILURE() << "SASLM_TWIN_LOG: " << path << " cannot be written";
      return;
    }
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    std::fprintf(
        file,
        "{\"test\": \"%s.%s\", \"result\": \"%s\", \"type\": \"%s\", \"largest\": %.3g, \"share\": %.3g}\n",
        test.test_suite_name(), test.name(), result_, type_, largest_, share_);
    std::fclose(file);
  }
  TwinLog(const TwinLog&) = delete;
  TwinLog& operator=(const TwinLog&) = delete;

  void add(double difference, double allowed) {
    largest_ = std::max(largest_, difference);
    if (difference > 0) share_ = std::max(share_, difference / allowed);
  }

 private:
  const char *result_, *type_;
  double largest_ = 0, share_ = 0;
};

}  // namespace saslm
