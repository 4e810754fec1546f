// The race build's view of what happens; empty in the other builds. race.cpp says how it judges.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/simt/launch_grid.h"

namespace saslm::simt {

using Clock =
    std::vector<uint32_t>;  // of each thread (and of the copy engine, last): how much of it is known

namespace race {
#ifdef SASLM_SIMT_RACE
void begin_grid();
void begin_block(int threads);
void allocate(const void* p, size_t bytes);
void read(const void* p, size_t bytes, CallSite);
void write(const void* p, size_t bytes, CallSite);
void atomic(const void* p, size_t bytes, CallSite);
// A copy engine or tensor core reads what ordinary stores wrote: needs fence_async in between.
void async_read(const void* p, size_t bytes, CallSite);
void issue_copy(const void* p, size_t bytes, CallSite);
void land_cp_async(const void* p, size_t bytes, CallSite);
void land_bulk(const void* p, size_t bytes, Clock& arrivals, CallSite);
// What one thread knows, given to whoever acquires the clock.
void release(int thread, Clock&);
void acquire(int thread, const Clock&);
void join(const int* threads, int count);
void fence_async(int thread);
#else
inline void begin_grid() {}
inline void begin_block(int) {}
inline void allocate(const void*, size_t) {}
inline void read(const void*, size_t, CallSite) {}
inline void write(const void*, size_t, CallSite) {}
inline void atomic(const void*, size_t, CallSite) {}
inline void async_read(const void*, size_t, CallSite) {}
inline void issue_copy(const void*, size_t, CallSite) {}
inline void land_cp_async(const void*, size_t, CallSite) {}
inline void land_bulk(const void*, size_t, Clock&, CallSite) {}
inline void release(int, Clock&) {}
inline void acquire(int, const Clock&) {}
inline void join(const int*, int) {}
inline void fence_async(int) {}
#endif
}  // namespace race
}  // namespace saslm::simt
