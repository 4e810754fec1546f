// Opening what a user named: a path that is missing, forbidden or of the wrong kind is the user's to mend
// (DataError); anything else is an IoError.
#pragma once
#include <string>

#include "core/file.h"

namespace saslm {

File open_regular(const std::string& path);  // for pread_all
File open_stream(const std::string& path);   // for read_some; a pipe will do, a folder will not
bool is_regular(const File& file);

}  // namespace saslm
