// What the checkpoint tests share: a folder of one's own, a tiny model, and ways to damage files.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "core/file.h"
#include "tests/own_folder.h"

namespace saslm::test {

// In memory where there is such a place: these tests rewrite small files thousands of times.
struct Folder : OwnFolder {
  Folder()
      : OwnFolder(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path()) {}
};

inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline std::string with_bit_flipped(std::string bytes, size_t bit) {
  bytes[bit / 8] = char(bytes[bit / 8] ^ (1 << bit % 8));
  return bytes;
}

// Two weights and their moments; every value is told apart by `seed`.
struct TinyModel {
  std::vector<float> embed = std::vector<float>(12), norm = std::vector<float>(4),
                     moments = std::vector<float>(16);

  explicit TinyModel(float seed) {
    float value = seed;
    for (std::vector<float>* values : {&embed, &norm, &moments}) {
      for (float& x : *values) x = value += 0.1f;
    }
  }
  std::vector<NamedTensor> model() { return {{"embed.weight", {3, 4}, embed}, {"norm.weight", {4}, norm}}; }
  std::vector<NamedTensor> optimizer() { return {{"m.all", {16}, moments}}; }
  bool operator==(const TinyModel&) const = default;
};

inline std::vector<ConstNamedTensor> const_view(const std::vector<NamedTensor>& tensors) {
  return {tensors.begin(), tensors.end()};
}

inline std::string save_tiny(const std::string& dir, int64_t step, float seed,
                             const std::map<std::string, std::string>& carried = {}) {
  TinyModel tiny(seed);
  const auto model = const_view(tiny.model()), optimizer = const_view(tiny.optimizer());
  return save_checkpoint(dir,
                         {step, model, optimizer, R"({"step":)" + std::to_string(step) + "}", "{}", carried})
      .path;
}

// The message of the E that `call` throws; "" and a failure when it does not.
template <class E, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace saslm::test
