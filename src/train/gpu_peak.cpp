#include "train/gpu_peak.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <vector>

namespace saslm {
namespace {

struct Card {
  const char* words;  // all of them are in the card's name: "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
  double tflops;
};

// The first that fits. Where a data sheet gives figures with sparsity alone, half of them.
constexpr std::array kDataCentre = {
    Card{"A100", 312},       Card{"A800", 312},      Card{"A30", 165},        Card{"A40", 149.7},
    Card{"A10", 125},        Card{"H100 PCIe", 756}, Card{"H100 NVL", 835.5}, Card{"H100", 989.4},
    Card{"H200 NVL", 835.5}, Card{"H200", 989.4},    Card{"GH200", 989.4},    Card{"H20", 148},
    Card{"L40S", 362},       Card{"L40", 181},       Card{"L4", 121},         Card{"GB200", 2500},
    Card{"B200", 2250},      Card{"GB300", 2500},    Card{"B300", 2250},
};
// By the whole name: a Laptop GPU or a "4090 D" is another card.
constexpr std::array kWorkstation = {
    Card{"NVIDIA RTX A6000", 154.8},        Card{"NVIDIA RTX 6000 Ada Generation", 364.2},
    Card{"NVIDIA GeForce RTX 3090", 71},    Card{"NVIDIA GeForce RTX 4080", 97.5},
    Card{"NVIDIA GeForce RTX 4090", 165.2}, Card{"NVIDIA GeForce RTX 5090", 209.5},
};

std::vector<std::string> words_of(std::string text) {
  std::replace(text.begin(), text.end(), '-', ' ');
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace

std::optional<double> dense_bf16_tflops(const std::string& gpu) {
  for (const Card& card : kWorkstation)
    if (gpu == card.words) return card.tflops;
  const std::vector<std::string> name = words_of(gpu);
  const auto named = [&](const std::string& word) {
    return std::find(name.begin(), name.end(), word) != name.end();
  };
  if (named("MIG") || named("GRID")) return {};  // a part of a card
  for (const Card& card : kDataCentre) {
    const std::vector<std::string> words = words_of(card.words);
    if (std::all_of(words.begin(), words.end(), named)) return card.tflops;
  }
  return {};
}

std::optional<double> mfu_of(double flops_per_token, double tokens_per_s, const Peak& peak, int ranks) {
  if (peak.tflops <= 0) return {};
  return flops_per_token * tokens_per_s / (peak.tflops * 1e12 * ranks);
}

Peak peak_of(const RuntimeConfig& runtime, const Platform& platform, bool bf16) {
  if (runtime.peak_tflops > 0) return {runtime.peak_tflops, "runtime.peak_tflops"};
  if (platform.gpu.empty()) return {};
  const std::string give = "; runtime.peak_tflops says it, in TFLOP/s of one GPU";
  if (!bf16) return {0, "the peak in fp32 is not known" + give};
  if (const auto tflops = dense_bf16_tflops(platform.gpu))
    return {*tflops, "the data sheet of " + platform.gpu + ", dense bf16"};
  return {0, "the peak of " + platform.gpu + " is not known" + give};
}

}  // namespace saslm
