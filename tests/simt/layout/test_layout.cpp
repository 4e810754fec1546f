// The layout tests on the SIMT layer.
#include "simt/layout/layout.h"
#include "simt/support.h"

namespace saslm::simt::layout {
namespace {

void all_agree(const std::vector<Check>& checks) {
  for (const Check& check : checks) {
    SCOPED_TRACE(check.name);
    for_every_schedule([&](Stream stream) { EXPECT_EQ(check.run(stream), ""); });
  }
}
TEST(SimtLayout, BasicPrimitives) {
  all_agree(basic_checks());
}
TEST(SimtLayout, Matrices) {
  all_agree(matrix_checks());
}
TEST(SimtLayout, Sm90) {
  all_agree(sm90_checks());
}

}  // namespace
}  // namespace saslm::simt::layout
