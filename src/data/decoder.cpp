#include "data/decoder.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <new>

#include "core/error.h"

namespace saslm {

namespace {

constexpr size_t kMaxStep = size_t(1) << 30;  // zlib counts in 32 bits

uint8_t* writable(const char* bytes) {
  return reinterpret_cast<uint8_t*>(const_cast<char*>(bytes));  // zlib's old interface; it does not write
}

class GzipDecoder : public Decoder {
 public:
  GzipDecoder() {
    constexpr int kGzip = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzip) != Z_OK) throw std::bad_alloc();
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  DecoderStep decode(std::span<const char> in, std::span<char> out, bool) override {
    DecoderStep step;
    if (between_) {  // members may be padded with zeros, as on a tape
      while (step.taken < in.size() && in[step.taken] == '\0') ++step.taken;
      step.whole = true;
      if (step.taken == in.size()) return step;
      if (inflateReset(&stream_) != Z_OK) throw std::bad_alloc();
      in = in.subspan(step.taken);
      between_ = false;
    }
    in = in.first(std::min(in.size(), kMaxStep)), out = out.first(std::min(out.size(), kMaxStep));
    stream_.next_in = writable(in.data()), stream_.avail_in = uInt(in.size());
    stream_.next_out = writable(out.data()), stream_.avail_out = uInt(out.size());
    const int result = inflate(&stream_, Z_NO_FLUSH);
    step.taken += in.size() - stream_.avail_in;
    step.made = out.size() - stream_.avail_out;
    step.whole = between_ = result == Z_STREAM_END;
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      step.problem = result == Z_NEED_DICT    ? "it needs a dictionary"
                     : stream_.msg != nullptr ? stream_.msg
                                              : "not gzip";
    return step;
  }

 private:
  z_stream stream_ = {};
  bool between_ = false;  // two members
};

class ZstdDecoder : public Decoder {
 public:
  ZstdDecoder() {
    if (!stream_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax,
                           ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }

  DecoderStep decode(std::span<const char> in, std::span<char> out, bool) override {
    DecoderStep step{.whole = whole_};
    ZSTD_inBuffer from = {in.data(), in.size(), 0};
    ZSTD_outBuffer to = {out.data(), out.size(), 0};
    const size_t left = ZSTD_decompressStream(stream_.get(), &to, &from);
    step.taken = from.pos, step.made = to.pos;
    if (ZSTD_isError(left) != 0) {
      if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation) throw std::bad_alloc();
      step.problem = ZSTD_getErrorName(left);
      return step;
    }
    if (step.taken > 0 || step.made > 0) step.whole = whole_ = left == 0;
    return step;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* stream) const { ZSTD_freeDCtx(stream); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> stream_{ZSTD_createDCtx()};
  bool whole_ = false;
};

class XzDecoder : public Decoder {
 public:
  XzDecoder() {
    if (lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK) throw std::bad_alloc();
  }
  ~XzDecoder() override { lzma_end(&stream_); }

  DecoderStep decode(std::span<const char> in, std::span<char> out, bool last) override {
    stream_.next_in = writable(in.data()), stream_.avail_in = in.size();
    stream_.next_out = writable(out.data()), stream_.avail_out = out.size();
    const lzma_ret result = lzma_code(&stream_, last ? LZMA_FINISH : LZMA_RUN);
    DecoderStep step{.taken = in.size() - stream_.avail_in, .made = out.size() - stream_.avail_out};
    step.whole = result == LZMA_STREAM_END;
    if (result == LZMA_MEM_ERROR) throw std::bad_alloc();
    if (result != LZMA_OK && result != LZMA_STREAM_END && result != LZMA_BUF_ERROR)
      step.problem = result == LZMA_FORMAT_ERROR    ? "not xz"
                     : result == LZMA_OPTIONS_ERROR ? "options that this build of liblzma does not know"
                                                    : "corrupt data or checksum";
    return step;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(Content compression) {
  switch (compression) {
    case Content::gzip:
      return std::make_unique<GzipDecoder>();
    case Content::zstd:
      return std::make_unique<ZstdDecoder>();
    case Content::xz:
      return std::make_unique<XzDecoder>();
    case Content::text:
    case Content::other:
      break;
  }
  check(false, "there is a decoder for this compression");
  return nullptr;
}

}  // namespace saslm
