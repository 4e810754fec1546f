#include "data/added_tokens.h"

#include <algorithm>

namespace saslm {

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens) (token.normalized ? second_ : first_).add(token);
}

namespace {

// The offset from which the end of an open text makes matches uncertain.
size_t uncertain_from(size_t size, size_t at, bool open, size_t longest) {
  return open ? std::max(at, size - std::min(size, longest)) : size;
}

}  // namespace

AddedTokens::Match AddedTokens::find_raw(std::string_view text, size_t at, bool open) const {
  return first_.find(text, at, uncertain_from(text.size(), at, open, first_.longest()));
}

AddedTokens::Match AddedTokens::find_normalized(std::string_view text, size_t at, bool open) const {
  return second_.find(text, at, uncertain_from(text.size(), at, open, second_.longest()));
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t at, bool open) const {
  const Match match = find_raw(text, at, open);
  // A match of the second set must end before the first set's uncertain part.
  const size_t segment = match.begin;
  const size_t rest = match.id >= 0 ? segment : uncertain_from(segment, at, open, second_.longest());
  const Match inner = second_.find(text.substr(0, segment), at, rest);
  if (inner.id >= 0) return inner;
  return match.id >= 0 ? match : Match{rest, rest, -1};
}

void AddedTokens::Set::add(const AddedToken& token) {
  const std::string& content = token.content;
  ids_.try_emplace(content, token.id);
  firsts_.set(uint8_t(content[0]));
  if (content.size() == 1) {
    singles_.set(uint8_t(content[0]));
  } else {
    pairs_.set(size_t(uint8_t(content[0])) << 8 | uint8_t(content[1]));
  }
  if (std::find(lengths_.begin(), lengths_.end(), content.size()) == lengths_.end()) {
    lengths_.push_back(content.size());
    std::sort(lengths_.rbegin(), lengths_.rend());
  }
}

AddedTokens::Match AddedTokens::Set::find(std::string_view text, size_t at, size_t limit) const {
  if (ids_.empty()) return {limit, limit, -1};
  for (; at < limit; ++at) {
    const uint8_t byte = uint8_t(text[at]);
    if (!firsts_[byte]) continue;
    if (!singles_[byte] && (at + 1 >= text.size() || !pairs_[size_t(byte) << 8 | uint8_t(text[at + 1])]))
      continue;
    for (const size_t length : lengths_) {
      if (length > text.size() - at) continue;
      const auto it = ids_.find(std::string(text.substr(at, length)));
      if (it != ids_.end()) return {at, at + length, it->second};
    }
  }
  return {limit, limit, -1};
}

}  // namespace saslm
