// Shards made byte by byte (independently of the code that reads them), and EXPECT_DATA_ERROR.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/own_folder.h"

namespace saslm::test {

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class Raw>
std::string bytes_of(const std::vector<Raw>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Raw)};
}

inline std::string llmc_header(int32_t magic, int32_t version, int32_t n_tokens) {
  std::vector<int32_t> header(256);
  header[0] = magic, header[1] = version, header[2] = n_tokens;
  return bytes_of(header);
}

inline std::string llmc_u16(const std::vector<uint16_t>& tokens) {
  return llmc_header(20240520, 1, int32_t(tokens.size())) + bytes_of(tokens);
}

inline std::string llmc_u32(const std::vector<uint32_t>& tokens) {
  return llmc_header(20240801, 7, int32_t(tokens.size())) + bytes_of(tokens);
}

// 0, 1, 2, ... n-1
template <class Raw>
std::vector<Raw> counting(int64_t n) {
  std::vector<Raw> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[size_t(i)] = Raw(i);
  return values;
}

inline std::string megatron_idx(uint8_t type_code, const std::vector<int32_t>& lengths,
                                const std::vector<int64_t>& first_bytes) {
  const int64_t n = int64_t(lengths.size());
  return std::string("MMIDIDX\0\0", 9) + bytes_of<uint64_t>({1}) + char(type_code) +
         bytes_of<int64_t>({n, 2}) + bytes_of(lengths) + bytes_of(first_bytes) + bytes_of<int64_t>({0, n});
}

}  // namespace saslm::test

#define EXPECT_DATA_ERROR(statement, part) EXPECT_ERROR(statement, saslm::DataError, part)
#define EXPECT_ERROR(statement, Type, part)                           \
  try {                                                               \
    (void)(statement);                                                \
    ADD_FAILURE() << "expected " #Type;                               \
  } catch (const Type& error) {                                       \
    EXPECT_THAT(std::string(error.what()), testing::HasSubstr(part)); \
  }
