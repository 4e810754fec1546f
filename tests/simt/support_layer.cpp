// The SIMT layer as the device of the tests (support.h).
#include <new>

#include "kernels/simt/schedules.h"
#include "simt/support.h"

namespace saslm::simt {
namespace {

std::vector<LaunchOptions> chosen(Schedules which) {
  switch (which) {
    case Schedules::every:
      break;
    case Schedules::two:
      return {{Order::round_robin, Copies::late}, {Order::reverse, Copies::early}};
    case Schedules::one:
      return {LaunchOptions{}};
  }
  return all_schedules();
}

}  // namespace

void for_schedules(Schedules which, size_t shared_bytes, const std::function<void(Stream)>& test) {
  for (LaunchOptions options : chosen(which)) {
    options.device.shared_bytes = shared_bytes;
    SCOPED_TRACE(describe(options));
    try {
      test(Stream{&options});
    } catch (const Fault& fault) {
      ADD_FAILURE() << fault.what();
    }
    if (::testing::Test::HasFailure()) return;  // the others would say it again
  }
}

void* allocate(size_t bytes) {
  return ::operator new(bytes);  // its own block, so that AddressSanitizer sees one step too far
}
void release(void* memory, size_t) {
  ::operator delete(memory);
}

}  // namespace saslm::simt
