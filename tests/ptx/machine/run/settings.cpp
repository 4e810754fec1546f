#include "ptx/machine/run/settings.h"

#include <cstdlib>
#include <stdexcept>

namespace ptx {
namespace {

long number(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : otherwise;
}

int shared_kib_of(int architecture) {
  if (architecture >= 90) return 227;
  return architecture == 86 || architecture == 89 ? 99 : 163;
}

std::optional<Mutant> mutant_asked_for() {
  const char* text = std::getenv("PTX_EDIT");
  if (text == nullptr) return std::nullopt;
  const std::string all(text);
  const size_t arrow = all.find("=>");
  if (arrow == std::string::npos) throw std::runtime_error("PTX_EDIT has no =>");
  Mutant m{all.substr(0, arrow), all.substr(arrow + 2), std::nullopt};
  if (const char* nth = std::getenv("PTX_EDIT_NTH")) m.nth = std::atoi(nth);
  return m;
}

}  // namespace

Settings Settings::from_environment() {
  Settings s;
  s.architecture = int(number("PTX_ARCH", 80));
  s.shared_kib = int(number("PTX_SHARED_KIB", shared_kib_of(s.architecture)));
  s.processors = int(number("PTX_SMS", s.architecture >= 90 ? 132 : 108));
  s.race = number("PTX_RACE", 1) != 0;
  s.global_race = number("PTX_GLOBAL_RACE", 1) != 0;
  s.uninitialised = number("PTX_UNINIT", 1) != 0;
  s.any_memory = number("PTX_ANY_MEMORY", 0) != 0;
  s.keep_going = std::getenv("PTX_KEEP_GOING") != nullptr;
  s.max_steps = uint64_t(number("PTX_MAX_STEPS", 0));
  s.cp_async_late = number("PTX_CPASYNC_LATE", 1) != 0;
  s.schedule = unsigned(number("PTX_SCHEDULE", 0));
  s.rough = unsigned(number("PTX_ROUGH", 0));
  s.conflicts = number("PTX_CONFLICTS", 0) != 0;
  s.verbose = number("PTX_VERBOSE", 0) != 0;
  if (const char* path = std::getenv("PTX_PROFILE")) s.profile = path;
  s.mutant = mutant_asked_for();
  return s;
}

}  // namespace ptx
