#include "core/error.h"
#include "data/parquet.h"

namespace saslm {

bool reads_parquet() {
  return false;
}

std::unique_ptr<ParquetTexts> open_parquet(const std::string& path, const std::string&, int64_t) {
  throw DataError(path + ": a parquet file, and this build of saslm has no Arrow to read it");
}

}  // namespace saslm
