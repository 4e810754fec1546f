// The two switches of fiber.h and the stacks.
#include "kernels/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"
#include "kernels/simt/sanitizer.h"

#if defined(__x86_64__) && !defined(SASLM_SIMT_UCONTEXT)
extern "C" void saslm_simt_switch(void** save, void* to);
asm(R"(
.text
.p2align 4
.type saslm_simt_switch,@function
.globl saslm_simt_switch
saslm_simt_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  popq %rcx
  jmpq *%rcx
.size saslm_simt_switch, .-saslm_simt_switch
)");
#endif

namespace saslm::simt {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kStackBytes = (kAsan ? 256 : 128) * 1024;

#ifdef SASLM_ASAN
Fiber* switching_from = nullptr;  // whose stack the next arrival reports
#endif

}  // namespace

void Fiber::start(void (*entry)()) {
  allow_access(stack_, stack_bytes_);
  fake_stack_ = nullptr;
#if defined(__x86_64__) && !defined(SASLM_SIMT_UCONTEXT)
  void** top = reinterpret_cast<void**>(stack_ + stack_bytes_);
  *--top = nullptr;  // keeps the stack aligned as a call would, and ends backtraces
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the registers that the switch restores
  stack_pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_bytes_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fiber::switch_to(Fiber& from, Fiber& to, [[maybe_unused]] bool from_is_finished) {
#ifdef SASLM_ASAN
  switching_from = &from;
  __sanitizer_start_switch_fiber(from_is_finished ? nullptr : &from.fake_stack_, to.stack_, to.stack_bytes_);
#endif
#if defined(__x86_64__) && !defined(SASLM_SIMT_UCONTEXT)
  saslm_simt_switch(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
#ifdef SASLM_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::arrived() {
#ifdef SASLM_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (switching_from->stack_ == nullptr) {  // the caller's own stack: now we know it
    switching_from->stack_ = static_cast<char*>(const_cast<void*>(bottom));
    switching_from->stack_bytes_ = bytes;
  }
#endif
}

FiberStacks::FiberStacks(size_t count) : bytes_(count * (kPage + kStackBytes)) {
  void* p = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw IoError::from_errno("mmap", "the stacks of the SIMT layer");
  base_ = static_cast<char*>(p);
  for (size_t i = 0; i < count; ++i) mprotect(bottom(i) - kPage, kPage, PROT_NONE);
}
FiberStacks::~FiberStacks() {
  munmap(base_, bytes_);
}
size_t FiberStacks::stack_bytes() {
  return kStackBytes;
}
char* FiberStacks::bottom(size_t i) const {
  return base_ + i * (kPage + kStackBytes) + kPage;
}

}  // namespace saslm::simt
