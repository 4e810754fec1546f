#pragma once

namespace saslm {

// Lets this process have as many files open as it is allowed to ask for, up to 16384: the usual limit of 1024
// is the softer of two. Data sets of many shards are then read without opening files again and again
// (data/open_files.h).
void raise_open_file_limit();

}  // namespace saslm
