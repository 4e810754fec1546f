#include "ptx/machine/program/parser.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>

namespace ptx {
namespace {

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = text != nullptr ? text : name;
  std::free(text);
  return result;
}

std::string_view without_param(std::string_view declaration) {
  return declaration.substr(0, 6) == ".param" ? declaration.substr(6) : declaration;
}

}  // namespace

void Parser::fail(const std::string& why, std::string_view near) const {
  throw Unreadable("PTX line " + std::to_string(line_) + " of " + k.pretty + ": " + why + ": " +
                   std::string(near.substr(0, 200)));
}

void Parser::parse() {
  k.pretty = demangled(k.name);
  lay_out_module_shared();
  function(k.name);
  for (size_t i = 0; i < k.functions.size(); ++i) parse_function(int(i));  // calls add more
}

void Parser::lay_out_module_shared() {
  scopes_.emplace_back();
  for (const Module::Shared& s : module_.shared()) {
    k.static_shared = round_up(k.static_shared, s.align);
    scopes_[0].variables[s.name] = {Space::shared, k.static_shared, s.size};
    k.static_shared += s.size;
  }
}

// Its index. Callers must know where its parameters lie, so they are laid out at the first mention.
int Parser::function(const std::string& name) {
  const auto [it, fresh] = functions_.try_emplace(name, int(k.functions.size()));
  if (!fresh) return it->second;
  const Module::Source* source = module_.function(name);
  if (source == nullptr) fail("no such function", name);
  Function& f = k.functions.emplace_back();
  f.name = name;
  f.entry = source->entry;
  Cursor head{source->head};
  if (head.peek() == '(') lay_out(f.results, head.bracketed(), false);
  head.word();
  if (head.peek() == '(') lay_out(f.params, head.bracketed(), f.entry);
  return it->second;
}

void Parser::lay_out(std::vector<Param>& params, std::string_view list, bool entry) {
  uint32_t& end = entry ? k.param_bytes : k.local_bytes;
  for (const auto text : split_list(list)) {
    const Declaration d = parse_declaration(without_param(text));
    end = round_up(end, d.align);
    params.push_back({end, d.size});
    end += d.size;
  }
}

void Parser::parse_function(int index) {
  function_index_ = index;
  const Module::Source& source = *module_.function(k.functions[size_t(index)].name);
  scopes_.resize(1);
  scopes_.emplace_back();
  labels_.clear();
  fixups_.clear();
  k.functions[size_t(index)].begin = int(k.code.size());
  if (index != 0) k.functions[size_t(index)].return_slot = slot(4);
  declare_params(source);
  Cursor body{source.body};
  body.line = source.body_line;
  try {
    parse_body(body);
  } catch (const Unreadable& e) {
    if (std::string_view(e.what()).substr(0, 8) == "PTX line") throw;
    fail(e.what(), body.text.substr(body.at, 80));
  }
  add_end();
  resolve_labels();
}

void Parser::declare_params(const Module::Source& source) {
  const Function& f = k.functions[size_t(function_index_)];
  Cursor head{source.head};
  if (head.peek() == '(') name_params(f.results, head.bracketed(), false);
  head.word();
  if (head.peek() == '(') name_params(f.params, head.bracketed(), f.entry);
  for (auto w = head.word(); !w.empty(); w = head.word()) {
    if (w != ".maxntid" && w != ".reqntid") continue;
    int threads = int(to_int(head.word()));
    while (head.take(',')) threads *= int(to_int(head.word()));
    if (function_index_ == 0) k.max_threads = threads;
  }
}

void Parser::name_params(const std::vector<Param>& params, std::string_view list, bool entry) {
  const auto texts = split_list(list);
  for (size_t i = 0; i < texts.size(); ++i) {
    const Declaration d = parse_declaration(without_param(texts[i]));
    const uint32_t offset = params[i].offset + (entry ? 0 : kParamOfFunc);
    scopes_.back().variables[d.name] = {Space::param, offset, params[i].size};
  }
}

void Parser::parse_body(Cursor& c) {
  while (!c.done()) {
    line_ = c.line;
    if (c.take(';')) continue;
    if (c.take('{')) {
      scopes_.emplace_back();
    } else if (c.take('}')) {
      scopes_.pop_back();
    } else {
      const Cursor start = c;
      const auto w = c.word();
      if (!w.empty() && c.take(':')) {
        labels_[w] = int(k.code.size());
      } else if (w.empty() || w[0] != '.' || !parse_directive(c, w)) {
        c = start;
        parse_instruction(c);
      }
    }
  }
}

bool Parser::parse_directive(Cursor& c, std::string_view w) {
  if (w == ".loc") {
    parse_location(c);
  } else if (w == ".pragma") {
    parse_pragma(c.until(';'));
  } else if (w == ".reg") {
    declare_registers(trim(c.until(';')));
  } else if (w == ".shared") {
    declare_shared(c.until(';'));
  } else if (w == ".local" || w == ".param") {
    declare_local(c.until(';'), w == ".local" ? Space::local : Space::param);
  } else {
    fail("unknown directive", w);
  }
  return true;
}

// .loc file line column, function_name label, inlined_at file line column
void Parser::parse_location(Cursor& c) {
  const auto text = c.until('\n');
  Cursor own{text};
  Location l;
  l.file = int(to_int(own.word()));
  l.line = int(to_int(own.word()));
  constexpr std::string_view kInlined = "inlined_at";
  const size_t at = text.find(kInlined);
  if (at != std::string_view::npos) {
    Cursor inlined{text.substr(at + kInlined.size())};
    l.inlined_file = int(to_int(inlined.word()));
    l.inlined_line = int(to_int(inlined.word()));
  }
  if (l.line == 0) return;
  k.locations.push_back(l);
  location_ = int(k.locations.size()) - 1;
}

void Parser::parse_pragma(std::string_view text) {
  constexpr std::string_view kMask = "used_bytes_mask";
  const size_t at = text.find(kMask);
  if (at == std::string_view::npos) return;
  used_bytes_ = uint32_t(std::strtoul(std::string(text.substr(at + kMask.size())).c_str(), nullptr, 0));
}

// .reg .b32 %r<100>, a, b;
void Parser::declare_registers(std::string_view text) {
  Cursor c{text};
  const auto type = c.word();
  if (type == ".v2" || type == ".v4") fail("vector register", text);
  const int bytes = type_bytes(type);
  const int width = type == ".pred" ? 1 : bytes == 8 ? 8 : bytes <= 4 ? 4 : 0;
  if (width == 0) fail("register of this type", text);
  for (const auto n : split_list(text.substr(c.at))) {
    const size_t less = n.find('<');
    if (less == std::string_view::npos) {
      scopes_.back().registers[n] = {slot(width), uint8_t(width), false};
      continue;
    }
    const int64_t count = to_int(n.substr(less + 1));
    for (int64_t i = 0; i < count; ++i) {
      names_.push_back(std::string(n.substr(0, less)) + std::to_string(i));
      scopes_.back().registers[names_.back()] = {slot(width), uint8_t(width), false};
    }
  }
}

void Parser::declare_shared(std::string_view text) {
  const Declaration d = parse_declaration(text);
  k.static_shared = round_up(k.static_shared, d.align);
  scopes_.back().variables[d.name] = {Space::shared, k.static_shared, d.size};
  k.static_shared += d.size;
}

void Parser::declare_local(std::string_view text, Space space) {
  const Declaration d = parse_declaration(text);
  k.local_bytes = round_up(k.local_bytes, std::max<uint32_t>(d.align, 8));
  const uint32_t offset = k.local_bytes + (space == Space::local ? 0 : kParamOfFunc);
  scopes_.back().variables[d.name] = {space, offset, d.size};
  k.local_bytes += d.size;
}

void Parser::resolve_labels() {
  for (const auto& [at, label] : fixups_) {
    const auto it = labels_.find(label);
    if (it == labels_.end()) fail("unknown label", label);
    k.code[size_t(at)].target = it->second;
  }
}

}  // namespace ptx
