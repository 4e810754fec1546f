// Plots are drawn by scripts/plot_comparison.py with matplotlib, where both are present.
#pragma once
#include <string>

namespace saslm {

// Runs the script on DIR. Returns what a person should be told: what was drawn, or why nothing was.
std::string plot_comparison(const std::string& dir);

}  // namespace saslm
