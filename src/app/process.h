// Prepares the process for any command.
#pragma once

namespace saslm {

// Call first; may restart the program with other settings.
//
//   SIGXFSZ         ignored: a file beyond `ulimit -f` is then an error, like a full disk
//   stack           raised if the soft limit (`ulimit -s`) is too small; ConfigError if it cannot be, or if
//                   OMP_STACKSIZE gives threads too little
//   open files      the soft limit is raised to at most 16384 (it is usually 1024), so that data sets of many
//                   shards need not reopen files (data/open_files.h)
//   GOMP_SPINCOUNT  app/device.h
void prepare_process(char** argv);

}  // namespace saslm
