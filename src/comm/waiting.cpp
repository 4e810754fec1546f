#include "comm/waiting.h"

namespace saslm {

constexpr size_t kNamed = 8;

std::chrono::seconds Vigil::lasted() const {
  return std::chrono::round<std::chrono::seconds>(Clock::now() - began_);
}

void Vigil::go_on(const std::function<std::string()>& line) {
  if (Clock::now() < say_at_) return;
  say_at_ = Clock::now() + kSayAgainAfter;
  waiting_.say(line());
}

std::string named_ranks(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size() && i < kNamed; ++i)
    text += (i == 0 ? "rank " : ", rank ") + std::to_string(ranks[i]);
  return ranks.size() <= kNamed ? text : text + " and " + std::to_string(ranks.size() - kNamed) + " more";
}

}  // namespace saslm
