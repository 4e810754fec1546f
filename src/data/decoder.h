// Stepwise decompression: a common interface of zlib, libzstd and liblzma.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "data/sniff.h"

namespace saslm {

struct DecoderStep {
  size_t taken = 0, made = 0;  // bytes
  bool whole =
      false;  // the input so far ends with a complete member or frame, and all its output was produced
  std::string problem;  // why it cannot continue; "" if it can
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // `last`: nothing follows `in`. A step that takes and makes nothing needs more input.
  virtual DecoderStep decode(std::span<const char> in, std::span<char> out, bool last) = 0;
};

std::unique_ptr<Decoder> make_decoder(Content compression);

}  // namespace saslm
