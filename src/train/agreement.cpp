#include "train/agreement.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>

#include "checkpoint/hash.h"
#include "config/json_text.h"
#include "config/policy.h"
#include "core/error.h"

namespace saslm {

std::string build_hash() {
  try {
    const File program("/proc/self/exe", O_RDONLY);
    return hash_range(program, 0, program.size());
  } catch (const IoError&) {
    return "";
  }
}

nlohmann::json keys_alike_on_ranks(const Config& config) {
  const nlohmann::json all = nlohmann::json::parse(to_json(config)).flatten();
  nlohmann::json alike;
  for (const auto& [pointer, value] : all.items())
    if (policy_of(pointer).across_ranks == AcrossRanks::same) alike[dotted(pointer)] = value;
  return alike;
}

void check_alike(const Communicator& comm, const nlohmann::json& mine) {
  const std::vector<std::string> all = gather_texts(comm, mine.dump(), "comparison of configs");
  const nlohmann::json wanted = nlohmann::json::parse(all[0]);
  for (int rank = 1; rank < comm.size(); ++rank) {
    const nlohmann::json theirs = nlohmann::json::parse(all[size_t(rank)]);
    nlohmann::json keys = wanted;
    keys.update(theirs);
    for (const auto& [key, unused] : keys.items()) {
      const nlohmann::json here = wanted.value(key, nlohmann::json()),
                           there = theirs.value(key, nlohmann::json());
      if (here == there) continue;
      if (!comm.first()) throw PeerError();
      throw ConfigError("the ranks were not started alike: " + key + " is " + here.dump() + " on rank 0, " +
                        there.dump() + " on rank " + std::to_string(rank) +
                        "; give all of them the same config and data");
    }
  }
}

std::vector<std::string> not_as_first(const Communicator& comm, const nlohmann::ordered_json& mine) {
  std::vector<std::string> lines;
  if (comm.size() == 1) return lines;
  const std::vector<std::string> all = gather_texts(comm, mine.dump(), "comparison of devices");
  if (!comm.first()) return lines;
  for (int rank = 1; rank < comm.size(); ++rank) {
    const nlohmann::json theirs = nlohmann::json::parse(all[size_t(rank)]);
    for (const auto& [key, here] : mine.items()) {
      const std::string there = theirs.value(key, "");
      if (here != there)
        lines.push_back(key + ": " + here.get<std::string>() + " on rank 0, " +
                        (there.empty() ? "not known" : there) + " on rank " + std::to_string(rank));
    }
  }
  return lines;
}

}  // namespace saslm
