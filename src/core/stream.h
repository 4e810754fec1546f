// Where work is queued. On the CPU every call has finished when it returns.
#pragma once

namespace saslm {

struct Stream {
  void* handle = nullptr;  // the device's stream; unused on the CPU
};

}  // namespace saslm
