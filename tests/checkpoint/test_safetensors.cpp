#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "checkpoint/safetensors.h"
#include "tests/checkpoint/fixture.h"

namespace saslm {
namespace {

using namespace test;

struct Safetensors : testing::Test {
  // Any header and data, right or wrong.
  void write_raw(const std::string& header, const std::string& data) const {
    const auto length = std::bit_cast<std::array<char, 8>>(uint64_t(header.size()));
    write_file(path, std::string(length.data(), 8) + header + data);
  }
  std::string refusal() const {
    return message_of<CheckpointError>([&] { SafetensorsReader{path}; });
  }
  // Opens it and reads every tensor that can be read; only CheckpointError may come out.
  void read_everything() const {
    try {
      const SafetensorsReader reader(path);
      for (const TensorInfo& tensor : reader.tensors()) {
        std::vector<float> values(size_t(tensor.count));
        reader.read(tensor.name, values);
      }
    } catch (const CheckpointError&) {
    }
  }

  Folder folder;
  std::string path = folder / "t.safetensors";
};

TEST_F(Safetensors, RoundTripIsBitExactAlsoForNanInfinityScalarsAndEmptyTensors) {
  const std::vector<float> odd = {std::bit_cast<float>(0x7FC12345u), -0.0f,
                                  std::numeric_limits<float>::infinity(),
                                  std::numeric_limits<float>::denorm_min()};
  const std::vector<float> scalar = {3}, many(300000, 0.5f);  // many: more than one chunk
  const std::vector<ConstNamedTensor> tensors = {
      {"odd", {2, 2}, odd}, {"a scalar \"é\"", {}, scalar}, {"none", {0, 7}, {}}, {"many", {300000}, many}};
  SafetensorsWriter(path, tensors, {{"made by", "test"}}).write();

  const SafetensorsReader reader(path);
  EXPECT_EQ(reader.metadata(), (Metadata{{"made by", "test"}}));
  ASSERT_EQ(reader.tensors().size(), 4u);
  for (const ConstNamedTensor& tensor : tensors) {
    std::vector<float> back(tensor.data.size(), -1);
    reader.read(tensor.name, back);
    const auto want = std::as_bytes(tensor.data), got = std::as_bytes(std::span(back));
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin())) << tensor.name;
    EXPECT_EQ(reader.find(tensor.name)->shape, tensor.shape);
  }
}

TEST_F(Safetensors, LayoutIsTheFormatsOwn) {
  const std::vector<float> a = {1, 2}, b = {3};
  const std::vector<ConstNamedTensor> tensors = {{"b", {2}, a}, {"a", {1}, b}};
  SafetensorsWriter(path, tensors).write();
  const std::string bytes = read_file(path);
  const std::string header = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";
  const size_t padded = (header.size() + 7) / 8 * 8;
  EXPECT_EQ(bytes.size(), 8 + padded + 12);
  EXPECT_EQ(uint8_t(bytes[0]), padded);
  EXPECT_EQ(bytes.substr(1, 7), std::string(7, '\0'));
  EXPECT_EQ(bytes.substr(8, padded), header + std::string(padded - header.size(), ' '));
  EXPECT_EQ(bytes.substr(8 + padded), std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12));
}

TEST_F(Safetensors, SumsComputedWhileWritingAreThoseOfTheFile) {
  const std::vector<float> values(300000, 0.25f);
  const std::vector<ConstNamedTensor> tensors = {{"x", {300000}, values},
                                                 {"y", {1}, std::span(values).first(1)}};
  const FileSum sum = SafetensorsWriter(path, tensors).write();
  EXPECT_EQ(sum.name, "t.safetensors");
  EXPECT_EQ(sum.size, int64_t(read_file(path).size()));
  EXPECT_EQ(sum.size, safetensors_size(tensors));
  const SafetensorsReader reader(path);
  EXPECT_EQ(sum.tensors.at("x"), reader.hash(*reader.find("x")));
  EXPECT_EQ(sum.tensors.at("y"), reader.hash(*reader.find("y")));
  EXPECT_NE(sum.tensors.at("x"), sum.tensors.at("y"));
}

TEST_F(Safetensors, Bf16AndF16AreWidenedExactly) {
  const auto little = [](std::initializer_list<uint16_t> values) {
    std::string bytes;
    for (const uint16_t v : values) (bytes += char(v & 255)) += char(v >> 8);
    return bytes;
  };
  write_raw(
      R"({"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"h":{"dtype":"F16","shape":[7],"data_offsets":[4,18]}})",
      little({0x3FC0, 0xFF80}) + little({0x3C00, 0xC100, 0x0001, 0x83FF, 0x7BFF, 0x7C00, 0x7E01}));
  const SafetensorsReader reader(path);
  std::vector<float> b(2), h(7);
  reader.read("b", b);
  reader.read("h", h);
  EXPECT_EQ(b, (std::vector<float>{1.5f, -std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(std::vector<float>(h.begin(), h.begin() + 6),
            (std::vector<float>{1, -2.5f, 0x1p-24f, -1023 * 0x1p-24f, 65504,
                                std::numeric_limits<float>::infinity()}));
  EXPECT_TRUE(std::isnan(h[6]));
}

TEST_F(Safetensors, OtherTypesOpenButAreRefusedByNameWhenRead) {
  write_raw(R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", std::string(8, '\0'));
  const SafetensorsReader reader(path);
  std::vector<float> out(1);
  const std::string message = message_of<CheckpointError>([&] { reader.read("ids", out); });
  EXPECT_CONTAINS(message, "'ids'");
  EXPECT_CONTAINS(message, "got I64");
}

TEST_F(Safetensors, AbsentNameAndWrongCountAreRefused) {
  write_raw(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(8, '\0'));
  const SafetensorsReader reader(path);
  std::vector<float> out(3);
  EXPECT_CONTAINS(message_of<CheckpointError>([&] { reader.read("y", out); }), "tensor 'y' is missing");
  EXPECT_CONTAINS(message_of<CheckpointError>([&] { reader.read("x", out); }),
                  "wanted 3 values, got shape [2]");
}

TEST_F(Safetensors, EveryKindOfBadHeaderIsRefusedWithItsReason) {
  const std::string four(4, '\0'), eight(8, '\0');
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const struct {
    std::string header, data, reason;
  } cases[] = {
      {"[]", "", "wanted an object as header"},
      {"{}", four, "wanted 0 bytes of data"},
      {"{", "", "not valid JSON"},
      {"{} x", "", "not valid JSON"},
      {"{\"\xff\":0}", "", "not valid JSON"},
      {R"({"x":1})", "", "wanted an object of exactly"},
      {R"({"x":{"dtype":"F32","shape":[]}})", four, "wanted an object of exactly"},
      {R"({"x":{"dtype":"F32","shape":[],"offsets":[0,4]}})", four, "a key data_offsets"},
      {R"({"__metadata__":{"a":1}})", "", "__metadata__"},
      {R"({"__metadata__":[]})", "", "__metadata__"},
      {R"({"x":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", four,
       "'dtype' appears twice"},
      {R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[],"data_offsets":[4,8]}})",
       eight, "'x' appears twice"},
      {R"({"x":{"dtype":"F32","shape":[[]],"data_offsets":[0,4]}})", four, "nested more than"},
      {std::string(100000, '['), "", "nested more than"},
      {entry("\"F33\"", "[1]", "[0,4]"), four, "known dtype"},
      {entry("32", "[1]", "[0,4]"), four, "dtype as a string"},
      {entry("\"F32\"", "1", "[0,4]"), four, "shape as a list"},
      {entry("\"F32\"", "[-1]", "[0,4]"), four, "shape as a list"},
      {entry("\"F32\"", "[1.0]", "[0,4]"), four, "shape as a list"},
      {entry("\"F32\"", "[9223372036854775808]", "[0,4]"), four, "shape as a list"},
      {entry("\"F32\"", "[4294967296,4294967296]", "[0,0]"), "", "below 2^63"},
      {entry("\"F32\"", "[4611686018427387904]", "[0,0]"), "", "below 2^63"},
      {entry("\"F32\"", "[1]", "[0]"), four, "data_offsets [begin, end]"},
      {entry("\"F32\"", "[1]", "[4,0]"), four, "data_offsets [begin, end]"},
      {entry("\"F32\"", "[2]", "[0,8]"), four, "within the file's 4 bytes"},
      {entry("\"F32\"", "[2]", "[0,4]"), four, "wanted 8 bytes for F32 of shape [2], got 4"},
      {entry("\"F32\"", "[1]", "[4,8]"), eight, "wanted its data at byte 0, got 4"},
      {entry("\"F32\"", "[1]", "[0,4]"), eight, "wanted 4 bytes of data, as in the header, got 8"},
      {R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       four, "overlap"},
  };
  for (const auto& c : cases) {
    write_raw(c.header, c.data);
    const std::string message = refusal();
    EXPECT_CONTAINS(message, c.reason);
    EXPECT_CONTAINS(message, path);
  }
}

TEST_F(Safetensors, HeaderLengthIsCheckedBeforeMemoryIsTaken) {
  for (const uint64_t length : {uint64_t(3), uint64_t(1) << 40, ~uint64_t(0), uint64_t(1) << 63}) {
    const auto bytes = std::bit_cast<std::array<char, 8>>(length);
    write_file(path, std::string(bytes.data(), 8) + "{}");
    EXPECT_CONTAINS(refusal(), "wanted a header of at most 2 bytes");
  }
  std::filesystem::resize_file(path, 1 << 28);  // sparse: the file is long enough for what it claims, ...
  const auto bytes = std::bit_cast<std::array<char, 8>>(uint64_t(100'000'001));
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).write(bytes.data(), 8);
  EXPECT_CONTAINS(refusal(), "at most 100000000 bytes, got 100000001");  // ... but no header is that long
}

TEST_F(Safetensors, TruncationAtEveryLengthIsRefused) {
  const std::vector<float> a = {1, 2}, b = {3};
  const std::vector<ConstNamedTensor> tensors = {{"a", {2}, a}, {"b", {1}, b}};
  SafetensorsWriter(path, tensors, {{"k", "v"}}).write();
  const std::string whole = read_file(path);
  for (size_t length = 0; length < whole.size(); ++length) {
    write_file(path, whole.substr(0, length));
    EXPECT_THROW(SafetensorsReader{path}, CheckpointError) << length;
  }
  write_file(path, whole + '\0');
  EXPECT_THROW(SafetensorsReader{path}, CheckpointError);
}

TEST_F(Safetensors, NoFlippedBitDoesMoreThanRefuse) {
  const std::vector<float> a = {1, 2}, b = {3};
  const std::vector<ConstNamedTensor> tensors = {{"a", {2}, a}, {"b", {1}, b}};
  SafetensorsWriter(path, tensors, {{"k", "v"}}).write();
  const std::string whole = read_file(path);
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    write_file(path, with_bit_flipped(whole, bit));
    ASSERT_NO_THROW(read_everything()) << bit;
  }
}

TEST_F(Safetensors, TwoTensorsOfOneNameAreNotWritten) {
  const std::vector<float> a = {1};
  const std::vector<ConstNamedTensor> twice = {{"a", {1}, a}, {"a", {1}, a}};
  EXPECT_THROW(SafetensorsWriter(path, twice), ShapeError);
  const std::vector<ConstNamedTensor> wrong = {{"a", {2}, a}};
  EXPECT_THROW(SafetensorsWriter(path, wrong), ShapeError);
}

}  // namespace
}  // namespace saslm
