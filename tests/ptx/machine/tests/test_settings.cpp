// The environment's names: what a user sets is what the machine does.
#include <cstdlib>
#include <stdexcept>

#include "ptx/machine/tests/fixture.h"

namespace ptx {
namespace {

// Sets a name for the life of this.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(PtxSettings, TheDeviceIsThatOfItsArchitecture) {
  const auto shared = [](const char* architecture) {
    const Variable v("PTX_ARCH", architecture);
    return Settings::from_environment().shared_kib;
  };
  EXPECT_EQ(shared("80"), 163);
  EXPECT_EQ(shared("86"), 99);
  EXPECT_EQ(shared("90"), 227);
  const Variable architecture("PTX_ARCH", "90"), less("PTX_SHARED_KIB", "99"), sms("PTX_SMS", "7");
  EXPECT_EQ(Settings::from_environment().shared_kib, 99);
  EXPECT_EQ(Settings::from_environment().processors, 7);
}

TEST(PtxSettings, ChecksAreOnUntilTheyAreTurnedOff) {
  const Settings on = Settings::from_environment();
  EXPECT_TRUE(on.race && on.global_race && on.uninitialised && on.cp_async_late);
  EXPECT_FALSE(on.any_memory || on.keep_going || on.conflicts || on.verbose);
  const Variable race("PTX_RACE", "0"), late("PTX_CPASYNC_LATE", "0"), seed("PTX_SCHEDULE", "5");
  EXPECT_FALSE(Settings::from_environment().race);
  EXPECT_FALSE(Settings::from_environment().cp_async_late);
  EXPECT_EQ(Settings::from_environment().schedule, 5u);
}

TEST(PtxSettings, AMutantHasAnArrow) {
  const Variable edit("PTX_EDIT", "bar.sync=>//"), nth("PTX_EDIT_NTH", "2");
  const Settings s = Settings::from_environment();
  ASSERT_TRUE(s.mutant.has_value());
  EXPECT_EQ(s.mutant->from, "bar.sync");
  EXPECT_EQ(s.mutant->to, "//");
  EXPECT_EQ(s.mutant->nth, 2);
  const Variable wrong("PTX_EDIT", "bar.sync");
  EXPECT_THROW(Settings::from_environment(), std::runtime_error);
}

}  // namespace
}  // namespace ptx
