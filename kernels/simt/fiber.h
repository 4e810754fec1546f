// Fibers: a stack, and a place to go on from. One CUDA thread each; a switch costs 3 ns on x86-64.
//
// On x86-64 the switch is written by hand and ends in pop + jmp: a ret would return to where no call came
// from, and mispredict each time (11 ns). Elsewhere ucontext serves (227 ns). AddressSanitizer is told of
// every switch.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || defined(SASLM_SIMT_UCONTEXT)
#include <ucontext.h>
#endif

namespace saslm::simt {

class Fiber {
 public:
  Fiber() = default;  // the caller's own stack: only to switch from and back to
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void give_stack(char* bottom, size_t bytes) { stack_ = bottom, stack_bytes_ = bytes; }
  // The next switch to this fiber calls entry on an empty stack. entry never returns.
  void start(void (*entry)());
  // from goes on when someone switches to it, unless it is finished.
  static void switch_to(Fiber& from, Fiber& to, bool from_is_finished = false);
  // Each entry must call this first.
  static void arrived();

 private:
  char* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
#if !defined(__x86_64__) || defined(SASLM_SIMT_UCONTEXT)
  ucontext_t context_{};
#else
  void* stack_pointer_ = nullptr;
#endif
};

// One mapping for the stacks of a whole block, an unmapped page below each.
class FiberStacks {
 public:
  explicit FiberStacks(size_t count);
  ~FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;

  static size_t stack_bytes();
  char* bottom(size_t i) const;
  bool contains(const void* p) const { return p >= base_ && p < base_ + bytes_; }

 private:
  char* base_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace saslm::simt
