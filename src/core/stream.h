// Where work is queued. On the CPU every call has finished when it returns.
#pragma once

namespace saslm {

struct Stream {
  void* handle = nullptr;   // the device's queue; unused on the CPU
  void* backend = nullptr;  // what the backend keeps beside it: libraries' handles, workspaces
};

}  // namespace saslm
