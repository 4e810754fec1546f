// Layout tests: what each primitive does, element by element, against formulas that do not come from the
// layer. The same sources run on the SIMT layer (test_layout.cpp) and on a GPU (gpu_main.cu): there they
// prove the inline PTX and the layer's reading of the manual.
#pragma once
#include <string>
#include <vector>

#include "core/stream.h"

namespace saslm::simt::layout {

struct Check {
  const char* name;
  std::string (*run)(Stream);  // what differs; empty when all is well
};

std::vector<Check> basic_checks();   // from sm_80
std::vector<Check> matrix_checks();  // from sm_80
std::vector<Check> sm90_checks();    // sm_90a

// The first difference, or nothing.
template <class T>
std::string compare(const std::vector<T>& got, const std::vector<T>& want) {
  for (size_t i = 0; i < want.size(); ++i)
    if (!(got[i] == want[i]))
      return "[" + std::to_string(i) + "] is " + std::to_string(got[i]) + ", wanted " +
             std::to_string(want[i]);
  return "";
}

}  // namespace saslm::simt::layout
