// A cache of self-check verdicts: one file each in $XDG_CACHE_HOME/saslm/selfcheck (by default
// ~/.cache/saslm/selfcheck), named by a hash of everything the verdict depends on. If the folder does not
// exist or is not writable, nothing is stored and every start checks again.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/kernel_check.h"

namespace saslm {

// What a verdict depends on, by name: GPU, driver, library, build, precision, calls.
using VerdictKey = std::vector<std::pair<std::string, std::string>>;

// "" if the environment names no folder.
std::string verdict_folder();

class Verdicts {
 public:
  Verdicts(std::string folder, VerdictKey key);

  // unfinished: the device was lost during the check; contains the results until then.
  struct Kept {
    KernelVerdict verdict;
    bool unfinished = false;
  };
  // nullopt if there is no readable verdict for exactly this key.
  std::optional<Kept> find() const;
  void keep(const KernelVerdict& verdict, bool unfinished) const;
  const std::string& path() const { return path_; }

 private:
  std::string folder_, path_;  // path_ is "" if nothing is stored
  VerdictKey key_;
};

}  // namespace saslm
