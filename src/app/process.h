// What this program needs of the process it is started as, whatever it then does.
#pragma once

namespace saslm {

// To be called first of all; may start the program again, with other settings.
//
//   SIGXFSZ        a file that grows beyond `ulimit -f` is an error as a full disk is one, not the end
//   stack          raised to what is needed where `ulimit -s` is soft; ConfigError where it is not, and where
//                  OMP_STACKSIZE gives threads less
//   open files     as many as the process may ask for, up to 16384: the usual limit of 1024 is the softer of
//                  two. Data sets of many shards are then read without opening files again and again
//                  (data/open_files.h)
//   GOMP_SPINCOUNT app/device.h
void prepare_process(char** argv);

}  // namespace saslm
