// Refused connections, for the messages of a waiting rank. Anyone may cause many, so only a few kinds are
// kept.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace saslm {

class LetGo {
 public:
  // True for the first of its kind that is kept.
  bool add(const std::string& what) {
    if (kinds_.contains(what) || kinds_.size() < kKinds) return ++kinds_[what] == 1;
    ++more_;
    return false;
  }
  std::string text() const {  // "" if there are none
    std::string all;
    for (const auto& [what, times] : kinds_)
      all += (all.empty() ? "; let go: " : ", ") + what +
             (times > 1 ? " (" + std::to_string(times) + " times)" : "");
    return more_ == 0 ? all : all + ", and " + std::to_string(more_) + " more";
  }

 private:
  static constexpr size_t kKinds = 3;
  std::map<std::string, int64_t> kinds_;
  int64_t more_ = 0;
};

}  // namespace saslm
