// Verdicts of self-checks, kept from run to run: a file each in $XDG_CACHE_HOME/saslm/selfcheck (by default
// ~/.cache/saslm/selfcheck), by a name that follows from all that a verdict depends on. Without such a
// folder, or where it cannot be written, nothing is kept, and every start checks anew.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/kernel_check.h"

namespace saslm {

// What a verdict holds for, by name: card, driver, library, build, precision, calls.
using VerdictKey = std::vector<std::pair<std::string, std::string>>;

// "" where the environment names no place.
std::string verdict_folder();

class Verdicts {
 public:
  Verdicts(std::string folder, VerdictKey key);

  // unfinished: the device was lost during the check; only what was found until then is known.
  struct Kept {
    KernelVerdict verdict;
    bool unfinished = false;
  };
  // Nothing where there is none, or none that can be read and is of this very key.
  std::optional<Kept> find() const;
  void keep(const KernelVerdict& verdict, bool unfinished) const;
  const std::string& path() const { return path_; }

 private:
  std::string folder_, path_;  // path_ is "" where nothing is kept
  VerdictKey key_;
};

}  // namespace saslm
