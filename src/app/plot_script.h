// Draws plots with the embedded plot_comparison.py, if there is a Python with matplotlib.
#pragma once
#include <string>

namespace saslm {

extern const char* const kPlotSource;  // plot_comparison.py

// Draws the comparison in `dir`. Returns a message for the user: what was drawn, or why nothing was.
std::string plot_comparison(const std::string& dir);

}  // namespace saslm
