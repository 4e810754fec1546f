// Opens a path given by the user. If it is missing, forbidden or of the wrong kind, the user must fix it
// (DataError); anything else is an IoError.
#pragma once
#include <string>

#include "core/file.h"

namespace saslm {

File open_regular(const std::string& path);  // for pread_all
File open_stream(const std::string& path);   // for read_some; pipes are allowed, folders are not
bool is_regular(const File& file);

}  // namespace saslm
