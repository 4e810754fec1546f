// Agreements between ranks on values that each of them measured or was given by itself.
#pragma once
#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "core/error.h"
#include "train/engine.h"

namespace saslm {

// Agrees on timed matrix products (runtime.matmul = timed). A rank times the algorithms for a shape when it
// first computes that shape; afterwards all ranks use the lowest rank's choice, so that all compute alike and
// rank 0's table in a checkpoint is valid for all. `shared` is the table that all had; returns the one they
// have now. All ranks call it.
template <class T>
std::string share_products(const Communicator& comm, const Config& config, const Engine<T>& engine,
                           const std::string& shared) {
  constexpr const char* kDoing = "agreement on matrix products";
  if (comm.size() == 1 || config.runtime.matmul != MatmulChoice::timed) return shared;
  const std::string mine = engine.ops().product_table(engine.stream());
  const std::vector<double> news = gather_numbers(comm, {double(mine != shared)}, kDoing);
  if (std::all_of(news.begin(), news.end(), [](double any) { return any == 0; })) return shared;
  const std::vector<std::string> all = gather_texts(comm, mine, kDoing);
  for (size_t rank = all.size(); rank-- > 0;)
    if (!engine.ops().time_products(engine.stream(), all[rank]))
      throw ConfigError("rank " + std::to_string(rank) +
                        " times matrix products on another GPU or by another library than rank " +
                        std::to_string(comm.rank()) +
                        "; give all ranks the same, or set runtime.matmul to ranked");
  return engine.ops().product_table(engine.stream());
}

// How a run's ranks share their work. Sharing::near is the largest power of two that is at most the number of
// ranks on every machine.
inline Sharing sharing_among(const Communicator& comm, const RuntimeConfig& runtime, int local_ranks) {
  Sharing sharing = sharing_of(runtime);
  if (comm.size() == 1) return sharing;
  const std::vector<double> all = gather_numbers(comm, {double(local_ranks)}, "agreement on the machines");
  sharing.near = int64_t(std::bit_floor(uint64_t(*std::min_element(all.begin(), all.end()))));
  return sharing;
}

}  // namespace saslm
