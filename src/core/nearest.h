// Suggestions for misspelled words.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

// The candidate nearest to `word`, with at most one error per three letters (insertion, deletion,
// substitution, swap), or else one that contains the word or is contained in it. '-' equals '_'; case is
// ignored. nullopt if none is near.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

// "learningRate", "learning-rate" -> "learning_rate"
std::string snake_case(std::string_view word);

}  // namespace saslm
