// Plots are drawn by plot_comparison.py, which is in the program, where there is a Python with matplotlib.
#pragma once
#include <string>

namespace saslm {

extern const char* const kPlotSource;  // plot_comparison.py

// Draws the comparison in `dir`. Returns what a person should be told: what was drawn, or why nothing was.
std::string plot_comparison(const std::string& dir);

}  // namespace saslm
