// A safetensors file whose values are made one tensor after the other, so that they are never all in memory.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "checkpoint/safetensors.h"

namespace saslm {

// The values of one tensor; they need last no longer than until it is called for the next.
using ValuesOf = std::function<std::span<const float>(const ConstNamedTensor& tensor)>;

// As SafetensorsWriter writes it, F32, in the given order; of `tensors` only names and shapes are looked at.
FileSum stream_safetensors(const std::string& path, std::span<const ConstNamedTensor> tensors,
                           const Metadata& metadata, const ValuesOf& values_of);

}  // namespace saslm
