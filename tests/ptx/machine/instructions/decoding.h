// From the text of an instruction to what executes it. Each family of instructions decodes and executes in
// one file.
//
// An instruction, type or qualifier that is not known is an error that names it: nothing is ignored unless it
// has no meaning here (cache hints, memory orders and scopes, .uni, .aligned, .approx of what is computed
// exactly).
#pragma once
#include <string_view>
#include <unordered_map>

#include "ptx/machine/program/parser.h"

namespace ptx {

struct Decoding {
  Parser& parser;
  const Statement& s;
  Instr& in;
  std::string_view base, type;  // the first and the last part of the operation
  int width;                    // of a register of that type

  const Argument& arg(size_t i) const { return s.args.at(i); }
  bool is_float() const { return type == "f32" || type == "f64"; }
  bool is_f32() const { return type == "f32"; }
  [[noreturn]] void unknown() const;
  void refuse_unless(bool known) const {
    if (!known) unknown();
  }

  void destination(size_t argument, int width, int op = 0);
  void source(size_t argument, int width, int op);
  void second_destination(std::string_view name,
                          int op);        // the predicate behind '|', which may be '_' or absent
  void operands(int width, int sources);  // a destination and so many sources, and no more
  Operand register_address(size_t argument, Space space);  // without an offset
  void state_space();                                      // of the qualifiers, else generic

  // Calls f with a value of the C++ type of the PTX type; bits count as unsigned. False: no such type.
  template <class F>
  bool with_integer(F f) const;
  template <class F>
  bool with_number(F f) const;
};

int bits_of(std::string_view type);   // 0: no type
int width_of(std::string_view type);  // of its register: 4, 8; 1: a predicate

using Decoder = void (*)(Decoding&);
using Decoders = std::unordered_map<std::string_view, Decoder>;
// Each adds the operations of its file.
void add_arithmetic(Decoders& all);
void add_carries(Decoders& all);
void add_bits(Decoders& all);
void add_predicates(Decoders& all);
void add_approximations(Decoders& all);
void add_conversions(Decoders& all);
void add_moves(Decoders& all);
void add_loads_and_stores(Decoders& all);
void add_atomics(Decoders& all);
void add_copies(Decoders& all);
void add_collectives(Decoders& all);
void add_matrices(Decoders& all);
void add_wgmma(Decoders& all);
void add_mbarriers(Decoders& all);
void add_control(Decoders& all);
// What one operation shares with another file. False: not of that family.
bool decode_packed(Decoding& d);           // packed.cpp: arithmetic of bf16 and bf16x2
bool decode_carry(Decoding& d);            // carries.cpp: .cc
bool decode_predicate_logic(Decoding& d);  // predicates.cpp: and, or, xor, not, mov of predicates
bool decode_bulk_copy(Decoding& d);        // bulk_copies.cpp: cp.async.bulk
void decode_warp_sync(Decoding& d);        // collectives.cpp: bar.warp.sync

void decode(Parser& parser, const Statement& s, Instr& in);

template <class F>
bool Decoding::with_integer(F f) const {
  if (type == "u16" || type == "b16") {
    f(uint16_t());
  } else if (type == "s16") {
    f(int16_t());
  } else if (type == "u32" || type == "b32") {
    f(uint32_t());
  } else if (type == "s32") {
    f(int32_t());
  } else if (type == "u64" || type == "b64") {
    f(uint64_t());
  } else if (type == "s64") {
    f(int64_t());
  } else {
    return false;
  }
  return true;
}

template <class F>
bool Decoding::with_number(F f) const {
  if (type == "f32") {
    f(float());
  } else if (type == "f64") {
    f(double());
  } else {
    return with_integer(f);
  }
  return true;
}

}  // namespace ptx
