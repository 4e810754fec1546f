// For tests of kernels on the SIMT layer.
#pragma once
#include <gtest/gtest.h>

#include "core/stream.h"
#include "kernels/simt/schedules.h"

namespace saslm::simt {

// test(stream) under every schedule: the stream carries it to launch(). A failure says which one it was.
template <class Test>
void for_every_schedule(Test test) {
  for (LaunchOptions options : all_schedules()) {
    SCOPED_TRACE(describe(options));
    try {
      test(Stream{&options});
    } catch (const Fault& fault) {
      ADD_FAILURE() << fault.what();
    }
    if (::testing::Test::HasFailure()) return;  // the others would say it again
  }
}

}  // namespace saslm::simt
