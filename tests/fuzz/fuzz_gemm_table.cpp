// Input: a table's text. Once more behind the line that makes it one for this machine.
#include "core/error.h"
#include "fuzz/target.h"
#include "kernels/cuda/runtime/gemm_table.h"

namespace saslm::fuzz {
namespace of_gemm_table {

using cuda::GemmTable;

constexpr const char* kHoldsFor = "cuBLASLt 130100 NVIDIA H200";

bool accepted(const std::string& text) {
  return accepts<CheckpointError>([&] {
    GemmTable table(kHoldsFor), again(kHoldsFor);
    const bool added = table.add(text);
    require(added || table.text().empty(), "nothing is added for another machine");
    require(again.add(table.text()) && again.text() == table.text(), "a table comes back");
  });
}

bool run(std::string_view input) {
  const bool whole = accepted(std::string(input)), lines = accepted(kHoldsFor + ("\n" + std::string(input)));
  return whole || lines;
}

std::vector<std::string> seeds() {
  GemmTable table(kHoldsFor);
  table.put({4096, 768, 768, 1, -1}, {1, 2, 3, ~uint64_t{0}});
  table.put({1}, {});
  return {table.text(), std::string(cut(table.text(), "\n").second), ""};
}

}  // namespace of_gemm_table

const Target kGemmTable = {
    "gemm_table", of_gemm_table::run, of_gemm_table::seeds, {" : ", std::string(128, '0')}};

}  // namespace saslm::fuzz
