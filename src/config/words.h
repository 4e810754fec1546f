// JSON words of the config's enums.
#pragma once
#include <array>
#include <cstddef>

#include "config/config.h"

namespace saslm {

// In the order of the enumerators.
template <class E>
struct Words;
template <>
struct Words<AttentionKind> {
  static constexpr std::array all{"mha", "mqa", "gqa", "sas", "mla", "tpa", "mhe", "moh"};
};
template <>
struct Words<PositionKind> {
  static constexpr std::array all{"rope", "learned", "none"};
};
template <>
struct Words<NormKind> {
  static constexpr std::array all{"rmsnorm", "layernorm"};
};
template <>
struct Words<MlpKind> {
  static constexpr std::array all{"swiglu", "gelu", "relu2"};
};
template <>
struct Words<SasInit> {
  static constexpr std::array all{"authors", "identity"};
};
template <>
struct Words<MheForm> {
  static constexpr std::array all{"add", "mul"};
};
template <>
struct Words<MohGates> {
  static constexpr std::array all{"paper", "authors"};
};
template <>
struct Words<ScheduleKind> {
  static constexpr std::array all{"constant", "cosine", "linear", "wsd"};
};
template <>
struct Words<OptimKind> {
  static constexpr std::array all{"adamw"};
};
template <>
struct Words<DeviceKind> {
  static constexpr std::array all{"auto", "cpu", "cuda"};
};
template <>
struct Words<Precision> {
  static constexpr std::array all{"auto", "bf16", "fp32"};
};
template <>
struct Words<Recompute> {
  static constexpr std::array all{"none", "sim", "block"};
};
template <>
struct Words<MatmulChoice> {
  static constexpr std::array all{"ranked", "timed"};
};

template <>
struct Words<RankSum> {
  static constexpr std::array all{"fixed", "library"};
};

template <class E>
const char* word_of(E value) {
  return Words<E>::all.at(static_cast<size_t>(value));
}

}  // namespace saslm
