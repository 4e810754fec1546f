#include "data/sniff.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace saslm {

namespace {

using namespace std::string_view_literals;

struct Magic {
  std::string_view bytes;
  size_t offset;
  Content content;
  std::string_view what, advice;
};

constexpr auto kUnpack = "unpack it and give its text files"sv;
constexpr auto kConvertTable =
    "write its text column as JSON lines and give those, for instance in Python: "
    "pandas.read_parquet(FILE)[[\"text\"]].to_json(\"out.jsonl\", orient=\"records\", lines=True, "
    "force_ascii=False)"sv;
constexpr auto kArrowTable =
    "write its text column as JSON lines and give those, for instance in Python: "
    "datasets.Dataset.from_file(FILE).to_json(\"out.jsonl\", force_ascii=False)"sv;
constexpr auto kExtract = "extract the text from it first"sv;
constexpr auto kNoText = "give text files"sv;
constexpr auto kRecode = "convert it first: iconv -f UTF-16 -t UTF-8 FILE"sv;
constexpr auto kRecode32 = "convert it first: iconv -f UTF-32 -t UTF-8 FILE"sv;
constexpr auto kRepack = "compress it with gzip, zstd or xz instead, or not at all"sv;
constexpr auto kTokens = "it already contains token ids: give it to data.train, data.val or --data"sv;
constexpr auto kWeights = "it contains a model's weights: give text files"sv;

// In order of priority.
constexpr std::array kMagics = {
    Magic{"\x1f\x8b\x08"sv, 0, Content::gzip, "gzip", ""},
    Magic{"\x28\xb5\x2f\xfd"sv, 0, Content::zstd, "zstd", ""},
    Magic{"\xfd\x37zXZ\0"sv, 0, Content::xz, "xz", ""},
    Magic{"\xff\xfe\0\0"sv, 0, Content::other, "text in UTF-32", kRecode32},
    Magic{"\0\0\xfe\xff"sv, 0, Content::other, "text in UTF-32", kRecode32},
    Magic{"\xff\xfe"sv, 0, Content::other, "text in UTF-16", kRecode},
    Magic{"\xfe\xff"sv, 0, Content::other, "text in UTF-16", kRecode},
    Magic{"1AY&SY"sv, 4, Content::other, "compressed by bzip2", kRepack},
    Magic{"\x04\x22\x4d\x18"sv, 0, Content::other, "compressed by lz4", kRepack},
    Magic{"\x1f\x9d"sv, 0, Content::other, "compressed by compress (.Z)", kRepack},
    Magic{"LZIP\1"sv, 0, Content::other, "compressed by lzip", kRepack},
    Magic{"\x5d\0\0"sv, 0, Content::other, "compressed by lzma (.lzma)", kRepack},
    Magic{"\xff\x06\0\0sNaPpY"sv, 0, Content::other, "compressed by snappy", kRepack},
    Magic{"PK\3\4"sv, 0, Content::other, "a zip archive (as are .docx, .epub, .npz and PyTorch's .pt)",
          kUnpack},
    Magic{"PK\5\6"sv, 0, Content::other, "an empty zip archive", kUnpack},
    Magic{"7z\xbc\xaf\x27\x1c"sv, 0, Content::other, "a 7z archive", kUnpack},
    Magic{"Rar!\x1a\x07"sv, 0, Content::other, "a rar archive", kUnpack},
    Magic{"ustar\0"sv, 257, Content::other, "a tar archive", kUnpack},
    Magic{"ustar  "sv, 257, Content::other, "a tar archive", kUnpack},
    Magic{"!<arch>\n"sv, 0, Content::other, "an ar archive (.deb, .a)", kUnpack},
    Magic{"PAR1"sv, 0, Content::other, "a parquet file", kConvertTable},
    Magic{"ARROW1\0\0"sv, 0, Content::other, "an Arrow file", kArrowTable},
    Magic{"\xff\xff\xff\xff"sv, 0, Content::other, "an Arrow stream", kArrowTable},
    Magic{"FEA1"sv, 0, Content::other, "a Feather file", kArrowTable},
    Magic{"Obj\1"sv, 0, Content::other, "an Avro file", kArrowTable},
    Magic{"SQLite format 3\0"sv, 0, Content::other, "an SQLite database", kExtract},
    Magic{"\x89HDF\r\n\x1a\n"sv, 0, Content::other, "an HDF5 file", kExtract},
    Magic{"\x93NUMPY"sv, 0, Content::other, "a NumPy array",
          "if it contains token ids, write them bare (array.astype(\"uint16\").tofile(\"x.bin\")) and read "
          "them with --raw uint16"},
    Magic{"\x80\2"sv, 0, Content::other, "a Python pickle", kExtract},
    Magic{"\x80\3"sv, 0, Content::other, "a Python pickle", kExtract},
    Magic{"\x80\4"sv, 0, Content::other, "a Python pickle", kExtract},
    Magic{"\x80\5"sv, 0, Content::other, "a Python pickle", kExtract},
    Magic{"GGUF\2\0\0\0"sv, 0, Content::other, "a GGUF file", kWeights},
    Magic{"GGUF\3\0\0\0"sv, 0, Content::other, "a GGUF file", kWeights},
    Magic{"%PDF-"sv, 0, Content::other, "a PDF document", kExtract},
    Magic{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, 0, Content::other, "an old Office document", kExtract},
    Magic{"\x7f\x45LF"sv, 0, Content::other, "a program (ELF)", kNoText},
    Magic{"\xca\xfe\xba\xbe"sv, 0, Content::other, "a program (Java or Mach-O)", kNoText},
    Magic{"\0asm"sv, 0, Content::other, "a program (WebAssembly)", kNoText},
    Magic{"\x89PNG\r\n\x1a\n"sv, 0, Content::other, "an image (PNG)", kNoText},
    Magic{"\xff\xd8\xff"sv, 0, Content::other, "an image (JPEG)", kNoText},
    Magic{"GIF87a"sv, 0, Content::other, "an image (GIF)", kNoText},
    Magic{"GIF89a"sv, 0, Content::other, "an image (GIF)", kNoText},
    Magic{"II*\0"sv, 0, Content::other, "an image (TIFF)", kNoText},
    Magic{"MM\0*"sv, 0, Content::other, "an image (TIFF)", kNoText},
    Magic{"OggS\0"sv, 0, Content::other, "a sound (Ogg)", kNoText},
    Magic{"fLaC\0"sv, 0, Content::other, "a sound (FLAC)", kNoText},
    Magic{"MMIDIDX\0\0"sv, 0, Content::other, "the index of a Megatron shard", kTokens},
    Magic{"\x88\xd8\x34\x01\1\0\0\0"sv, 0, Content::other, "a token shard", kTokens},  // 20240520, 1
    Magic{"\xa1\xd9\x34\x01\7\0\0\0"sv, 0, Content::other, "a token shard", kTokens},  // 20240801, 7
};

bool matches(const Magic& magic, std::string_view head) {
  return head.size() >= magic.offset + magic.bytes.size() &&
         head.substr(magic.offset, magic.bytes.size()) == magic.bytes;
}

// Tar before "ustar": the header contains the sum of its bytes, in octal.
bool is_old_tar(std::string_view head) {
  constexpr size_t kHeader = 512, kSumAt = 148, kSumBytes = 8;
  if (head.size() < kHeader || head[0] == '\0') return false;
  uint32_t sum = 0, wanted = 0;
  for (size_t i = 0; i < kHeader; ++i)
    sum += i >= kSumAt && i < kSumAt + kSumBytes ? uint32_t(' ') : uint8_t(head[i]);
  const std::string_view field = head.substr(kSumAt, kSumBytes);
  const size_t digit = field.find_first_of("01234567");
  if (digit == field.npos) return false;
  std::from_chars(field.data() + digit, field.data() + field.size(), wanted, 8);
  return sum == wanted;
}

// Eight bytes with the length of a JSON object, followed by its first two bytes.
bool is_safetensors(std::string_view head) {
  return head.size() >= 10 && head.substr(8, 2) == "{\"" && head.substr(5, 3) == "\0\0\0"sv;
}

// Bytes that do not occur in text: control characters except backspace, tab, newline, page break, escape, and
// ^Z, the end of DOS files.
bool is_binary_byte(char c) {
  const auto byte = uint8_t(c);
  return (byte < 0x20 && "\b\t\n\v\f\r\x1a\x1b"sv.find(c) == std::string_view::npos) || byte == 0x7f;
}

// Text has almost none of these bytes: 2 in 100 are too many. In random bytes one in eight is such a byte.
Sniffed by_its_bytes(std::string_view head) {
  std::array<size_t, 4> zeros = {};
  size_t binary = 0;
  for (size_t i = 0; i < head.size(); ++i) {
    binary += is_binary_byte(head[i]);
    zeros[i % 4] += head[i] == '\0';
  }
  if (binary < 2 || binary * 50 < head.size()) return {};
  const size_t even = zeros[0] + zeros[2], odd = zeros[1] + zeros[3], all = even + odd;
  const size_t quarter = std::max<size_t>(1, head.size() / 4);
  const auto full = [&](size_t place) { return zeros[place] * 10 >= quarter * 9; };
  if ((full(2) && full(3) && zeros[0] * 10 < quarter) || (full(0) && full(1) && zeros[3] * 10 < quarter))
    return {Content::other, "text in UTF-32", std::string(kRecode32)};
  // In UTF-16, Latin letters have a zero byte next to them, always on the same side.
  if (all * 8 > head.size() && (even * 20 < all || odd * 20 < all))
    return {Content::other, "text in UTF-16",
            std::string("convert it first: iconv -f UTF-16") + (even > odd ? "BE" : "LE") + " -t UTF-8 FILE"};
  return {Content::other, "binary data, not text",
          "give text files; --raw uint16 (or uint32) reads bare token ids such as nanoGPT's train.bin; "
          "--format bytes takes any bytes unchanged"};
}

}  // namespace

Sniffed sniff(std::string_view head) {
  head = head.substr(0, kSniffBytes);
  // zstd's skippable frames, of 16 kinds: pzstd puts one before each other frame.
  if (head.size() >= 8 && (uint8_t(head[0]) & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18"sv)
    return {Content::zstd, "zstd", ""};
  for (const Magic& magic : kMagics)
    if (matches(magic, head)) return {magic.content, std::string(magic.what), std::string(magic.advice)};
  if (head.size() >= 12 && head.starts_with("RIFF") &&
      (head.substr(8, 4) == "WEBP" || head.substr(8, 4) == "WAVE"))
    return {Content::other, head.substr(8, 4) == "WEBP" ? "an image (WebP)" : "a sound (WAV)",
            std::string(kNoText)};
  if (is_old_tar(head)) return {Content::other, "a tar archive", std::string(kUnpack)};
  if (is_safetensors(head)) return {Content::other, "a safetensors file", std::string(kWeights)};
  return by_its_bytes(head);
}

bool are_wide_ids(std::string_view head) {
  constexpr size_t kFewest = 16;
  const size_t n = head.size() / 4;
  size_t low = 0, high = 0;  // halves that are not 0
  for (size_t i = 0; i < n; ++i) {
    low += head[4 * i] != '\0' || head[4 * i + 1] != '\0';
    high += head[4 * i + 2] != '\0' || head[4 * i + 3] != '\0';
  }
  return n >= kFewest && high == 0 && low > 0;
}

std::string raw_type_of(std::string_view head, int64_t file_bytes) {
  const Sniffed found = sniff(head);
  if (file_bytes % 2 != 0 || file_bytes < 4 || found.content != Content::other) return "";
  if (!found.what.starts_with("binary data") && !found.what.starts_with("text in UTF")) return "";
  return file_bytes % 4 == 0 && are_wide_ids(head) ? "uint32" : "uint16";
}

bool begins_with_json_object(std::string_view head) {
  const size_t begin = head.find_first_not_of(" \t\r\n");
  if (begin == head.npos || head[begin] != '{') return false;
  const size_t end = head.find('\n', begin);
  const std::string_view line = head.substr(begin, end - begin);
  if (end != head.npos || head.size() + 3 < kSniffBytes) return nlohmann::json::accept(line);
  const size_t key = line.find_first_not_of(" \t", 1);
  return key != line.npos && line[key] == '"' && line.find("\":") != line.npos;
}

}  // namespace saslm
