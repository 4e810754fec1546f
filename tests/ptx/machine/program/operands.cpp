// Names and literals as operands: registers, special registers, constants, addresses.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "ptx/machine/program/parser.h"

namespace ptx {
namespace {

// Those that run/special_registers.cpp gives a value.
constexpr std::string_view kSpecialRegisters[] = {"%tid.x",
                                                  "%tid.y",
                                                  "%tid.z",
                                                  "%ntid.x",
                                                  "%ntid.y",
                                                  "%ntid.z",
                                                  "%ctaid.x",
                                                  "%ctaid.y",
                                                  "%ctaid.z",
                                                  "%nctaid.x",
                                                  "%nctaid.y",
                                                  "%nctaid.z",
                                                  "%laneid",
                                                  "%warpid",
                                                  "%clock",
                                                  "%lanemask_lt",
                                                  "%lanemask_le",
                                                  "%lanemask_gt",
                                                  "%lanemask_ge",
                                                  "%lanemask_eq",
                                                  "%smid",
                                                  "%clusterid.x",
                                                  "%nclusterid.x",
                                                  "%cluster_ctaid.x",
                                                  "%cluster_ctarank",
                                                  "%cluster_nctaid.x",
                                                  "%dynamic_smem_size"};

}  // namespace

uint32_t Parser::slot(int width) {
  if (width != 1) {
    const uint32_t offset = k.register_bytes;
    k.register_bytes += uint32_t(kWarp * width);
    return offset;
  }
  if (next_predicate_ == end_of_predicates_) {  // sixteen at a time, so that slots stay aligned
    next_predicate_ = k.register_bytes;
    k.register_bytes += 64;
    end_of_predicates_ = k.register_bytes;
  }
  const uint32_t offset = next_predicate_;
  next_predicate_ += 4;
  return offset;
}

Operand Parser::find_register(std::string_view name) const {
  for (size_t i = scopes_.size(); i-- > 0;) {
    const auto it = scopes_[i].registers.find(name);
    if (it != scopes_[i].registers.end()) return it->second;
  }
  return {};
}

const Variable* Parser::find_variable(std::string_view name) const {
  for (size_t i = scopes_.size(); i-- > 0;) {
    const auto it = scopes_[i].variables.find(name);
    if (it != scopes_[i].variables.end()) return &it->second;
  }
  return nullptr;
}

// 12, -0x1f, 0f3f800000 (the bits of a float), 0d3ff0000000000000 (of a double); no decimal fractions
bool Parser::literal(std::string_view text, Literal& out) const {
  const bool minus = !text.empty() && text[0] == '-';
  std::string s(minus ? text.substr(1) : text);
  if (s.empty() || s[0] < '0' || s[0] > '9') return false;
  const char mark = s.size() > 2 && s[0] == '0' ? s[1] : ' ';
  if (mark == 'f' || mark == 'F' || mark == 'd' || mark == 'D') {
    const int bytes = mark == 'f' || mark == 'F' ? 4 : 8;
    const uint64_t sign = minus ? uint64_t(1) << (8 * bytes - 1) : 0;
    out = {std::strtoull(s.c_str() + 2, nullptr, 16) ^ sign, bytes};
    return true;
  }
  if (mark != 'x' && mark != 'X' && s.find('.') != std::string::npos)
    fail("decimal floating-point literal", text);
  const uint64_t bits = std::strtoull(s.c_str(), nullptr, 0);
  out = {minus ? 0 - bits : bits, 0};
  return true;
}

uint64_t Parser::number(const Argument& a) const {
  Literal l{};
  if (!literal(a.text, l) || l.float_bytes != 0) fail("an integer was expected", a.text);
  return l.bits;
}

// A register that holds it in every lane.
Operand Parser::constant(int width, uint64_t bits) {
  if (width == 4) bits &= 0xffffffffu;
  if (width == 1) bits = bits != 0 ? kAllLanes : 0;
  const auto [it, fresh] = constants_.try_emplace({width, bits}, 0);
  if (fresh) {
    it->second = slot(width);
    const size_t unit = width == 1 ? 4 : size_t(width);
    std::vector<uint8_t> bytes(width == 1 ? unit : unit * kWarp);
    for (size_t at = 0; at < bytes.size(); at += unit) std::memcpy(&bytes[at], &bits, unit);
    k.constants.push_back({it->second, bytes});
  }
  return {it->second, uint8_t(width), false};
}

Operand Parser::special_register(std::string_view name) {
  if (std::find(std::begin(kSpecialRegisters), std::end(kSpecialRegisters), name) ==
      std::end(kSpecialRegisters))
    fail("unknown register", name);
  for (const Special& s : k.specials)
    if (s.name == name) return {s.offset, 4, false};
  k.specials.push_back({slot(4), std::string(name)});
  return {k.specials.back().offset, 4, false};
}

Operand Parser::source_of_any_width(const Argument& a, int width_of_constant) {
  if (a.type != Argument::word) fail("a register or constant was expected", a.text);
  Operand r = find_register(a.text);
  if (r.width != 0) {
    r.negated = a.negated;
    return r;
  }
  Literal l{};
  if (literal(a.text, l)) {
    if (l.float_bytes != 0 && l.float_bytes != width_of_constant)
      fail("a floating-point constant of another width", a.text);
    return constant(width_of_constant, l.bits);
  }
  if (a.text[0] == '%') return special_register(a.text);
  if (const Variable* v = find_variable(a.text)) return constant(width_of_constant, v->offset);
  if (void* global = module_.variable(a.text)) return constant(8, reinterpret_cast<uint64_t>(global));
  fail("unknown name", a.text);
}

Operand Parser::source(const Argument& a, int width) {
  const Operand o = source_of_any_width(a, width);
  if (o.width != width) fail("operand of another width than " + std::to_string(width), a.text);
  return o;
}

Operand Parser::destination_of_any_width(const Argument& a) {
  const Operand r = find_register(a.text);
  if (a.type != Argument::word || r.width == 0) fail("no register", a.text);
  return r;
}

Operand Parser::destination(const Argument& a, int width) {
  if (a.type == Argument::underscore) return {slot(width), uint8_t(width), false};
  const Operand r = destination_of_any_width(a);
  if (r.width != width) fail("destination of another width than " + std::to_string(width), a.text);
  return r;
}

void Parser::address(const Argument& a, Instr& in) {
  if (a.type != Argument::address) fail("an address was expected", a.text);
  in.imm = a.offset;
  in.address = find_register(a.text);
  if (in.address.width != 0) return;
  Literal l{};
  if (const Variable* v = find_variable(a.text)) {
    if (in.space == Space::generic) fail("a variable's address without its space", a.text);
    in.address = constant(8, v->offset);
  } else if (void* global = module_.variable(a.text)) {
    in.address = constant(8, reinterpret_cast<uint64_t>(global));
  } else if (literal(a.text, l)) {
    in.address = constant(8, l.bits);
  } else {
    fail("unknown address", a.text);
  }
}

}  // namespace ptx
