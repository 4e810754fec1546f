// Writes a safetensors file tensor by tensor, so that the values are never all in memory.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "checkpoint/safetensors.h"

namespace saslm {

// Returns the values of one tensor; they must stay valid until the next call.
using ValuesOf = std::function<std::span<const float>(const ConstNamedTensor& tensor)>;

// The file is as SafetensorsWriter writes it, F32, in the given order; only names and shapes of `tensors` are
// used.
FileSum stream_safetensors(const std::string& path, std::span<const ConstNamedTensor> tensors,
                           const Metadata& metadata, const ValuesOf& values_of);

}  // namespace saslm
