#include "data/byte_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/file.h"
#include "data/decoder.h"
#include "data/input.h"
#include "data/sniff.h"

namespace saslm {

namespace {

constexpr size_t kReadBytes = 256 << 10;

// The raw file, or standard input, which is already open.
class Input {
 public:
  explicit Input(const std::string& path) {
    if (path != kStandardInput) file_ = open_stream(path);
    seekable_ = path != kStandardInput && is_regular(file_);
    path_ = path;
  }

  const std::string& path() const { return path_; }
  bool seekable() const { return seekable_; }
  void seek(int64_t offset) { file_.seek(offset); }

  // Like File::read_some.
  size_t read_some(std::span<char> out) const {
    if (path_ != kStandardInput) return size_t(file_.read_some(std::as_writable_bytes(out)));
    const size_t wanted = out.size();
    while (!out.empty()) {
      const ssize_t n = ::read(STDIN_FILENO, out.data(), out.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw IoError::from_errno("read", shown(path_));
      if (n == 0) break;
      out = out.subspan(size_t(n));
    }
    return wanted - out.size();
  }

 private:
  std::string path_;
  File file_;
  bool seekable_;
};

class PlainSource : public ByteSource {
 public:
  PlainSource(Input file, std::string head) : file_(std::move(file)), head_(std::move(head)) {}

  size_t read(std::span<char> out) override {
    const size_t first = std::min(out.size(), head_.size() - at_);
    std::copy_n(head_.begin() + std::ptrdiff_t(at_), first, out.begin());
    at_ += first;
    const size_t n = first + file_.read_some(out.subspan(first));
    position_ += int64_t(n);
    return n;
  }

  void skip(int64_t n) override {
    if (!file_.seekable()) return ByteSource::skip(n);
    head_.clear(), at_ = 0;
    position_ += n;
    file_.seek(position_);
  }

  int64_t file_position(int64_t n) const override { return n; }

 private:
  Input file_;
  std::string head_;      // read already
  size_t at_ = 0;         // in it
  int64_t position_ = 0;  // returned so far
};

class DecodedSource : public ByteSource {
 public:
  DecodedSource(Input file, std::string head, Content compression, std::string name)
      : file_(std::move(file)),
        buffer_(std::move(head)),
        decoder_(make_decoder(compression)),
        name_(std::move(name)) {
    read_ = int64_t(buffer_.size());
  }

  size_t read(std::span<char> out) override {
    size_t made = 0;
    while (made < out.size() && !ended_) {
      if (at_ == buffer_.size() && !last_) refill();
      const DecoderStep step =
          decoder_->decode(std::span<const char>(buffer_).subspan(at_), out.subspan(made), last_);
      at_ += step.taken, made += step.made;
      const std::string where = " near byte " + std::to_string(read_ - int64_t(buffer_.size() - at_));
      if (!step.problem.empty())
        throw ContentError(shown(file_.path()) + ": damaged " + name_ + " data" + where + " (" +
                           step.problem + "); fetch or compress it again");
      if (step.taken > 0 || step.made > 0) continue;
      check(at_ == buffer_.size(), "a decoder takes input or makes output");
      if (!last_) continue;
      if (!step.whole)
        throw ContentError(shown(file_.path()) + ": the " + name_ + " data is cut short at byte " +
                           std::to_string(read_) + "; fetch or compress it again");
      ended_ = true;
    }
    return made;
  }

  int64_t file_position(int64_t) const override { return read_ - int64_t(buffer_.size() - at_); }

 private:
  void refill() {
    buffer_.resize(kReadBytes);
    const size_t n = file_.read_some(buffer_);
    buffer_.resize(n);
    at_ = 0, read_ += int64_t(n);
    last_ = n == 0;
  }

  Input file_;
  std::string buffer_;  // compressed
  size_t at_ = 0;       // in it
  int64_t read_ = 0;    // of the file, buffer_ included
  bool last_ = false, ended_ = false;
  std::unique_ptr<Decoder> decoder_;
  std::string name_;
};

}  // namespace

void ByteSource::skip(int64_t n) {
  std::string dropped(kReadBytes, '\0');
  while (n > 0) {
    const size_t got = read(std::span(dropped).first(size_t(std::min<int64_t>(n, kReadBytes))));
    if (got == 0) return;
    n -= int64_t(got);
  }
}

std::string shown(const std::string& path) {
  return path == kStandardInput ? "standard input" : path;
}

OpenedSource open_source(const std::string& path, bool as_they_are) {
  OpenedSource source;
  Input file(path);
  std::string head(kSniffBytes, '\0');
  head.resize(file.read_some(head));
  const Sniffed found = as_they_are ? Sniffed{} : sniff(head);
  if (found.content == Content::text || found.content == Content::other) {
    source.bytes = std::make_unique<PlainSource>(std::move(file), std::move(head));
  } else {
    source.compression = found.what;
    source.bytes =
        std::make_unique<DecodedSource>(std::move(file), std::move(head), found.content, found.what);
  }
  return source;
}

}  // namespace saslm
