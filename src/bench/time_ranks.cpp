#include "bench/time_ranks.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "core/error.h"
#include "train/gradient_sum.h"

namespace saslm {
namespace {

SumTime time_sums(const Communicator& comm, int64_t samples, const std::function<void()>& sum) {
  std::vector<double> ms;
  for (int64_t i = -2; i < samples; ++i) {  // two before they count: connections are made, pages touched
    gather_numbers(comm, {}, "beginning of a timed sum");
    const auto begin = std::chrono::steady_clock::now();
    sum();
    const std::chrono::duration<double, std::milli> mine = std::chrono::steady_clock::now() - begin;
    const std::vector<double> all = gather_numbers(comm, {mine.count()}, "times of a sum");
    if (i >= 0) ms.push_back(*std::max_element(all.begin(), all.end()));
  }
  std::sort(ms.begin(), ms.end());
  return {ms[ms.size() / 2], ms.front(), ms.back()};
}

}  // namespace

template <class T>
RanksTime time_ranks(const Ops<T>& ops, const Communicator& comm, int64_t bytes, int64_t samples) {
  Layout<T> layout(Mode::train);
  layout.param("gradients", {bytes / int64_t(sizeof(float))}, "bench", Init::zeros());
  const SumPlan<T> plan(layout, 1, comm.size());
  const Arena<T> arena(layout, ops.allocate(layout.bytes()));
  const auto queue = ops.open_stream();
  const Stream stream = *queue;
  const Vec<float> g = arena.gradients();
  GradientSum<T> tree(plan, {ops, arena, comm, stream, stream});

  RanksTime time{.bytes = g.size * int64_t(sizeof(float))};
  time.tree = time_sums(comm, samples, [&] {
    tree.add(0, {0, g.size});
    tree.finish();
    comm.wait(stream, "sum of gradients");
  });
  try {
    time.library = time_sums(comm, samples, [&] {
      comm.all_reduce(stream, g, "library's sum");
      comm.wait(stream, "library's sum");
    });
    time.has_library = true;
  } catch (const ConfigError&) {  // on every rank alike
  }
  return time;
}

template RanksTime time_ranks(const Ops<float>&, const Communicator&, int64_t, int64_t);
template RanksTime time_ranks(const Ops<bf16>&, const Communicator&, int64_t, int64_t);

}  // namespace saslm
