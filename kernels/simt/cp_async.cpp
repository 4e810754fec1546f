// cp.async (PTX ISA 9.7.9.25.3). The destination is poisoned when the copy is issued; the source is read when
// the issuing thread waits for its group (Copies::late) or at once (Copies::early): a kernel must be right
// under both.
//
// It cannot catch a source that another block overwrites meanwhile.
#include <cstdint>

#include "kernels/simt/cpu_copy.h"
#include "kernels/simt/machine.h"

namespace saslm::simt {
namespace {

void land(const CopyInFlight& copy) {
  if (copy.valid)
    std::memcpy(copy.dst, copy.src, copy.bytes);
  else
    std::memset(copy.dst, 0, copy.bytes);
}

void issue(const std::string& name, const CopyInFlight& copy) {
  Machine& m = machine();
  m.shared.check(copy.dst, copy.bytes, copy.bytes, (name + "'s destination").c_str(), copy.at);
  if (reinterpret_cast<uintptr_t>(copy.src) % copy.bytes)
    fail(name + ": the global source is not aligned to " + std::to_string(copy.bytes) + " bytes",
         "copy the ragged part with plain loads", copy.at);
  race::issue_copy(copy.dst, copy.bytes, copy.at);
  if (copy.valid) {
    race::read(copy.src, copy.bytes, copy.at);
    [[maybe_unused]] volatile char end = copy.src[0];  // a bad source shows here, not at the wait
    end = copy.src[copy.bytes - 1];
  }
  if (m.options.copies == Copies::early)
    land(copy);
  else
    std::memset(copy.dst, 0xff, copy.bytes);
  m.current->copies.push_back(copy);
}

}  // namespace

void cp_async16(void* dst, const void* src, bool valid, CallSite at) {
  issue("cp_async16", {static_cast<char*>(dst), static_cast<const char*>(src), 16, valid, at});
}
void cp_async4(void* dst, const void* src, bool valid, CallSite at) {
  issue("cp_async4", {static_cast<char*>(dst), static_cast<const char*>(src), 4, valid, at});
}

void cp_async_commit(CallSite) {
  self().copy_groups.push_back(self().copies.size());
}

void cp_async_wait_groups(int unfinished, CallSite) {
  Thread& t = self();
  std::vector<size_t>& groups = t.copy_groups;
  if (groups.size() <= size_t(unfinished)) return;
  const size_t finished = groups.size() - size_t(unfinished), end = groups[finished - 1];
  for (size_t i = 0; i < end; ++i) {
    if (machine().options.copies == Copies::late) land(t.copies[i]);
    race::land_cp_async(t.copies[i].dst, t.copies[i].bytes, t.copies[i].at);
  }
  t.copies.erase(t.copies.begin(), t.copies.begin() + ptrdiff_t(end));
  groups.erase(groups.begin(), groups.begin() + ptrdiff_t(finished));
  for (size_t& g : groups) g -= end;
}

}  // namespace saslm::simt
