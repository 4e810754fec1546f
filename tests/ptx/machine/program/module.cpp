#include "ptx/machine/program/module.h"

#include <cstdlib>
#include <cstring>

#include "ptx/machine/program/parser.h"

namespace ptx {
namespace {

constexpr size_t kVariableAlign = 256;

// Of a literal in an initialiser: 0f3f800000, 0d..., an integer.
uint64_t literal_bits(std::string_view literal) {
  const std::string t(literal);
  const bool is_float = t.size() > 2 && t[0] == '0' && std::strchr("fFdD", t[1]) != nullptr;
  if (is_float) return std::strtoull(t.c_str() + 2, nullptr, 16);
  return t[0] == '-' ? uint64_t(std::strtoll(t.c_str(), nullptr, 0)) : std::strtoull(t.c_str(), nullptr, 0);
}

void initialise(uint8_t* at, const Declaration& d, std::string_view values) {
  values = trim(values);
  if (!values.empty() && values.front() == '{') values = Cursor{values}.bracketed();
  size_t offset = 0;
  for (const auto v : split_list(values)) {
    const uint64_t bits = literal_bits(v);
    const auto bytes = size_t(d.element_bytes);
    if (offset + bytes > d.size) throw Unreadable("too many values for " + std::string(d.name));
    std::memcpy(at + offset, &bits, bytes);
    offset += bytes;
  }
}

}  // namespace

Module::Module(std::string text) : text_(std::move(text)) {
  blank_comments(text_);
  Cursor c{text_};
  try {
    read(c);
  } catch (const Unreadable& e) {
    throw Unreadable("PTX line " + std::to_string(c.line) + ": " + e.what());
  }
}

void Module::read(Cursor& c) {
  bool is_extern = false;
  while (!c.done()) {
    if (c.take(';')) continue;
    const auto w = c.word();
    if (w.empty()) throw Unreadable("not understood: " + std::string(c.text.substr(c.at, 60)));
    if (w == ".extern") {
      is_extern = true;
      continue;
    }
    if (skip_directive(c, w)) continue;
    if (w == ".file") {
      read_file(c);
    } else if (w == ".shared") {
      read_shared(c.until(';'), is_extern);
    } else if (w == ".global" || w == ".const") {
      read_variable(c.until(';'));
    } else if (w == ".entry" || w == ".func") {
      read_function(c, w == ".entry");
    } else {
      throw Unreadable("unknown directive " + std::string(w));
    }
    is_extern = false;
  }
}

// Those that say nothing to the machine.
bool Module::skip_directive(Cursor& c, std::string_view w) {
  if (w == ".visible" || w == ".weak" || w == ".common") return true;
  const bool line = w == ".version" || w == ".target" || w == ".address_size" || w == ".loc";
  if (line) c.until('\n');
  if (w == ".section") c.until('}');
  if (w == ".pragma") c.until(';');
  return line || w == ".section" || w == ".pragma";
}

void Module::read_file(Cursor& c) {
  const int index = int(to_int(c.word()));
  const auto rest = c.until('\n');
  const size_t begin = rest.find('"'), end = rest.find('"', begin + 1);
  if (end == std::string_view::npos) throw Unreadable(".file without a name");
  files_[index] = std::string(rest.substr(begin + 1, end - begin - 1));
}

void Module::read_shared(std::string_view text, bool is_extern) {
  const Declaration d = parse_declaration(text);
  if (is_extern || d.open) {
    dynamic_shared_[std::string(d.name)] = d.align;
  } else {
    shared_.push_back({std::string(d.name), d.align, d.size});
  }
}

void Module::read_variable(std::string_view text) {
  const size_t equals = text.find('=');
  const Declaration d = parse_declaration(text.substr(0, equals));
  Variable v;
  v.size = d.size;
  v.storage.reset(new uint8_t[d.size + kVariableAlign]());
  const auto address = reinterpret_cast<uintptr_t>(v.storage.get());
  v.at = v.storage.get() + (kVariableAlign - address % kVariableAlign) % kVariableAlign;
  if (equals != std::string_view::npos) initialise(v.at, d, text.substr(equals + 1));
  variables_[std::string(d.name)] = std::move(v);
}

void Module::read_function(Cursor& c, bool entry) {
  c.skip_blanks();
  Source source{entry, {}, {}, 0};
  const size_t begin = c.at;
  if (c.peek() == '(') c.bracketed();
  const std::string name(c.word());
  if (c.peek() == '(') c.bracketed();
  while (c.at < c.text.size() && c.text[c.at] != '{' && c.text[c.at] != ';') c.line += c.text[c.at++] == '\n';
  source.head = c.text.substr(begin, c.at - begin);
  if (c.take(';')) return;  // a prototype
  source.body_line = c.line;
  source.body = c.bracketed();
  functions_[name] = source;
}

const Module::Source* Module::function(const std::string& name) const {
  const auto it = functions_.find(name);
  return it == functions_.end() ? nullptr : &it->second;
}

void* Module::variable(std::string_view name) const {
  const auto it = variables_.find(std::string(name));
  return it == variables_.end() ? nullptr : it->second.at;
}

std::vector<Module::Bytes> Module::variables() const {
  std::vector<Bytes> all;
  for (const auto& [name, v] : variables_) all.push_back({v.at, v.size});
  return all;
}

std::shared_ptr<Kernel> Module::kernel(const std::string& name) {
  auto& kept = kernels_[name];
  if (!kept) {
    auto fresh = std::make_shared<Kernel>();
    fresh->name = name;
    fresh->files = files_;
    Parser(*this, *fresh).parse();
    kept = std::move(fresh);
  }
  return kept;
}

}  // namespace ptx
