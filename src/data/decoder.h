// Decompression, one step at a time: what zlib, libzstd and liblzma have in common.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "data/sniff.h"

namespace saslm {

struct DecoderStep {
  size_t taken = 0, made = 0;  // bytes
  bool whole = false;          // what came so far ends with a whole member or frame, and all of it was made
  std::string problem;         // why it cannot go on; "" when it can
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // `last`: nothing follows `in`. A step that neither takes nor makes anything asks for more input.
  virtual DecoderStep decode(std::span<const char> in, std::span<char> out, bool last) = 0;
};

std::unique_ptr<Decoder> make_decoder(Content compression);

}  // namespace saslm
