#include "ptx/machine/run/findings.h"

namespace ptx {
namespace {

constexpr int kPrinted = 3;
constexpr size_t kNameChars = 200;

std::string file_name(const Kernel& k, int file) {
  const auto it = k.files.find(file);
  const std::string path = it == k.files.end() ? "?" : it->second;
  const size_t root = path.find("/kernels/");
  return root == std::string::npos ? path : path.substr(root + 1);
}

}  // namespace

std::string hex(uint64_t v) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(v));
  return text;
}

std::string place(const Kernel& k, const Instr& in) {
  std::string s = "PTX line " + std::to_string(in.line);
  if (in.location < 0) return s;
  const Location& l = k.locations[size_t(in.location)];
  s += ", " + file_name(k, l.file) + ":" + std::to_string(l.line);
  if (l.inlined_line != 0)
    s += " from " + file_name(k, l.inlined_file) + ":" + std::to_string(l.inlined_line);
  return s;
}

void Findings::add(const Kernel& k, const Instr* in, const std::string& kind, const std::string& detail) {
  const std::string at = in != nullptr ? std::to_string(k.index_of(*in)) : "";
  const auto [it, fresh] = index_.try_emplace(kind + "|" + k.name + "|" + at, all_.size());
  if (!fresh) {
    ++all_[it->second].times;
    return;
  }
  Finding f{kind, k.pretty, "", "", detail, 1};
  if (in != nullptr) {
    f.where = place(k, *in);
    f.text = k.text[size_t(k.index_of(*in))];
  }
  print(k, f);
  all_.push_back(std::move(f));
}

void Findings::print(const Kernel& k, const Finding& f) {
  const int n = ++printed_[f.kind + "|" + k.name];
  const std::string kernel = f.kernel.substr(0, kNameChars);
  if (out_ == nullptr || n > kPrinted + 1) return;
  if (n == kPrinted + 1) {
    std::fprintf(out_, "PTX %s: more of this in kernel %s\n", f.kind.c_str(), kernel.c_str());
  } else {
    std::fprintf(out_, "PTX %s: %s\n    kernel %s\n    at %s\n    %s\n", f.kind.c_str(), f.detail.c_str(),
                 kernel.c_str(), f.where.c_str(), f.text.c_str());
  }
}

}  // namespace ptx
