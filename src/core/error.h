// Error types. The type says who is at fault and sets the exit code.
//
//   UserError      2   config, data, checkpoint or arguments cannot be used as given
//   DivergedError  3   training kept producing non-finite or runaway steps
//   MachineError   1   a file, device or library call failed
//   ShapeError     1   our own mistake: views that do not fit together
//   PeerError          another rank has an error, says so, and ends all
//
// A message says what was wrong and where, what was wanted, what was found, and what to do. Only app/main.cpp
// catches; nothing below it prints or exits.
#pragma once
#include <stdexcept>
#include <string>

namespace saslm {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct UserError : Error {
  using Error::Error;
};
struct ConfigError : UserError {  // the JSON file, --set, or command-line arguments
  using UserError::UserError;
};
struct DataError : UserError {  // token shards and text files
  using UserError::UserError;
};
struct CheckpointError : UserError {  // a checkpoint that is damaged or belongs to another model
  using UserError::UserError;
};

struct DivergedError : Error {
  using Error::Error;
};

struct MachineError : Error {
  using Error::Error;
};
struct IoError : MachineError {
  // "<call> <path>: <strerror(errno)>"
  static IoError from_errno(const std::string& call, const std::string& path);
  using MachineError::MachineError;
};
struct CommError : MachineError {  // another rank is lost or does not answer
  using MachineError::MachineError;
};
struct CudaError : MachineError {  // the call and CUDA's own text
  using MachineError::MachineError;
};

struct ShapeError : Error {
  using Error::Error;
};

struct PeerError : Error {
  PeerError() : Error("another rank says why") {}
};

// Checks an internal invariant, also in release builds.
inline void check(bool holds, const char* claim) {
  if (!holds) throw ShapeError(std::string("internal error, this must hold: ") + claim);
}

}  // namespace saslm
