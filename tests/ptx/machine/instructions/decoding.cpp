#include "ptx/machine/instructions/decoding.h"

#include <cstdlib>

namespace ptx {
namespace {

const Decoders& decoders() {
  static const Decoders all = [] {
    Decoders d;
    for (const auto add : {add_arithmetic, add_carries, add_bits, add_predicates, add_approximations,
                           add_conversions, add_moves, add_loads_and_stores, add_atomics, add_copies,
                           add_collectives, add_matrices, add_wgmma, add_mbarriers, add_control})
      add(d);
    return d;
  }();
  return all;
}

// Qualifiers that change results, where they are not implemented.
void refuse_modifiers(const Decoding& d) {
  const auto base = d.base;
  const bool approximates = base == "ex2" || base == "lg2" || base == "rcp" || base == "rsqrt";
  if (d.s.has("ftz") && !approximates) d.unknown();
  if (d.s.has("sat") && base != "cvt") d.unknown();
  if (d.s.has("relu") && base != "cvt") d.unknown();
  if (d.is_float() && base != "cvt" && base != "fma" && (d.s.has("rz") || d.s.has("rp") || d.s.has("rm")))
    d.unknown();
}

}  // namespace

int bits_of(std::string_view type) {
  if (type == "pred") return 1;
  if (type.size() < 2 || type[1] < '0' || type[1] > '9') return 0;
  return std::atoi(std::string(type.substr(1)).c_str());
}

int width_of(std::string_view type) {
  return type == "pred" ? 1 : bits_of(type) == 64 ? 8 : 4;
}

void Decoding::unknown() const {
  parser.fail("instruction is not known to the interpreter", s.op);
}

void Decoding::destination(size_t argument, int width_, int op) {
  in.op[op] = parser.destination(arg(argument), width_);
}

void Decoding::source(size_t argument, int width_, int op) {
  in.op[op] = parser.source(arg(argument), width_);
}

void Decoding::second_destination(std::string_view name, int op) {
  if (name.empty() || name == "_") return;
  Argument a;
  a.type = Argument::word;
  a.text = name;
  in.op[op] = parser.destination(a, 1);
}

void Decoding::operands(int width_, int sources) {
  destination(0, width_);
  for (int i = 1; i <= sources; ++i) source(size_t(i), width_, i);
  if (s.args.size() != size_t(sources) + 1) parser.fail("other number of operands", s.op);
}

Operand Decoding::register_address(size_t argument, Space space) {
  Instr at;
  at.space = space;
  parser.address(arg(argument), at);
  refuse_unless(at.imm == 0);
  return at.address;
}

void Decoding::state_space() {
  in.space = Space::generic;
  for (const auto q : s.parts) {
    if (q == "global") in.space = Space::global;
    if (q.substr(0, 6) == "shared") in.space = Space::shared;
    if (q == "local") in.space = Space::local;
    if (q.substr(0, 5) == "param") in.space = Space::param;
    if (q == "const") in.space = Space::constant;
    if (in.space != Space::generic) return;
  }
}

void decode(Parser& parser, const Statement& s, Instr& in) {
  Decoding d{parser, s, in, s.parts.front(), s.parts.back(), width_of(s.parts.back())};
  in.counted = d.is_f32() ? Class::single : d.type == "f64" ? Class::real64 : Class::integer;
  const auto it = decoders().find(d.base);
  if (it == decoders().end()) d.unknown();
  refuse_modifiers(d);
  it->second(d);
}

}  // namespace ptx
