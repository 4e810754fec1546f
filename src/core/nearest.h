// What a word that is unknown was probably meant to be.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

// The candidate that `word` is, but for one slip in every three letters (one more, one less, another, two
// swapped), or else one that holds the word or is held by it. '-' is '_', and capitals are small letters.
// None when none is near.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

// "learningRate", "learning-rate" -> "learning_rate"
std::string snake_case(std::string_view word);

}  // namespace saslm
