// Which algorithm each shape of matrix product is computed by, when that was decided by timing: two runs that
// time for themselves may decide differently, and then differ in their last bits, so a run keeps its table.
// Host code alone; as text it goes into checkpoints.
//
//   cuBLASLt 130100 NVIDIA H200           what the choices hold for
//   4096 768 ... 0 : 1f00... (128 hex)    a shape and its algorithm, a line each, in order of shapes
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace saslm::cuda {

class GemmTable {
 public:
  using Shape = std::array<int64_t, 16>;
  using Algorithm = std::array<uint64_t, 8>;  // the library's own, opaque

  // `holds_for` names library and GPU, in one line.
  explicit GemmTable(std::string holds_for) : holds_for_(std::move(holds_for)) {}

  const Algorithm* find(const Shape& shape) const;
  void put(const Shape& shape, const Algorithm& algorithm) { choices_[shape] = algorithm; }

  std::string text() const;  // "" when nothing was chosen
  // Adds the choices of a text of ours, in the place of those there are. False, and nothing is added, when
  // they hold for another library or GPU. CheckpointError for anything else.
  bool add(const std::string& text);

 private:
  std::string holds_for_;
  std::map<Shape, Algorithm> choices_;
};

// The candidate to use, by its time and the library's ranking (the order): the first, unless another is
// clearly faster. Times scatter by a few per cent, and where nothing is gained two runs had better choose
// alike.
template <class Times>
size_t choose(const Times& milliseconds) {
  constexpr double kClearly = 0.97;
  size_t best = 0;
  for (size_t i = 1; i < milliseconds.size(); ++i)
    if (milliseconds[i] < milliseconds[best]) best = i;
  return milliseconds[best] < kClearly * milliseconds[0] ? best : 0;
}

}  // namespace saslm::cuda
