// mov, with vectors that are packed into a register or unpacked from it, and cvta (PTX ISA, "Data Movement
// and Conversion Instructions").
#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"

namespace ptx {
namespace {

struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

uint64_t low_bytes(uint64_t v, int bytes) {
  return bytes == 8 ? v : v & ((uint64_t(1) << (8 * bytes)) - 1);
}

// mov.b64 {a, b}, c and the like: op[0] is c, op[1].. the parts, the lowest first; _ has no width
void run_unpack(Warp& w, const Instr& in, uint32_t lanes) {
  for_lanes(lanes, [&](int l) {
    const uint64_t v = w.value(in.op[0], l);
    for (int e = 0; e < in.elements; ++e)
      if (in.op[1 + e].width != 0) w.set_value(in.op[1 + e], l, low_bytes(v >> (8 * in.bytes * e), in.bytes));
  });
}

void run_pack(Warp& w, const Instr& in, uint32_t lanes) {
  for_lanes(lanes, [&](int l) {
    uint64_t v = 0;
    for (int e = 0; e < in.elements; ++e)
      v |= low_bytes(w.value(in.op[1 + e], l), in.bytes) << (8 * in.bytes * e);
    w.set_value(in.op[0], l, v);
  });
}

enum AddressMode : uint8_t { kFromGeneric, kToGeneric };

// Parameters of an entry lie in the host's memory, which is global.
uint64_t window_of(Warp& w, Space space) {
  switch (space) {
    case Space::shared:
      return kSharedWindow;
    case Space::local:
      return kLocalWindow;
    case Space::param:
      return reinterpret_cast<uint64_t>(w.block->params);
    default:
      return 0;
  }
}

void run_convert_address(Warp& w, const Instr& in, uint32_t lanes) {
  const uint64_t window = window_of(w, in.space);
  const bool checked = in.space == Space::shared || in.space == Space::local;
  for_lanes(lanes, [&](int l) {
    const uint64_t a = w.value(in.op[1], l);
    if (in.mode == kToGeneric) return w.set_value(in.op[0], l, a + window);
    if (checked && a >> 60 != window >> 60)
      w.fault(in, l, "cvta.to of an address that is not in this space: " + hex(a));
    w.set_value(in.op[0], l, a - window);
  });
}

void decode_vector_move(Decoding& d) {
  const bool unpacks = d.arg(0).type == Argument::vector;
  const auto& items = unpacks ? d.arg(0).items : d.arg(1).items;
  const int bytes = bits_of(d.type) / 8;
  d.refuse_unless(!items.empty() && items.size() <= 4 && bytes % int(items.size()) == 0);
  d.in.elements = uint8_t(items.size());
  d.in.bytes = uint8_t(bytes / int(items.size()));
  d.in.op[0] = unpacks ? d.parser.source(d.arg(1), d.width) : d.parser.destination(d.arg(0), d.width);
  for (size_t i = 0; i < items.size(); ++i) {
    const bool dropped = items[i].type == Argument::underscore;
    if (unpacks && !dropped) d.in.op[1 + i] = d.parser.destination(items[i], 4);
    if (!unpacks) d.in.op[1 + i] = d.parser.source(items[i], 4);
  }
  d.in.execute = unpacks ? run_unpack : run_pack;
}

void decode_move(Decoding& d) {
  d.in.counted = Class::other;
  if (d.arg(0).type == Argument::vector || d.arg(1).type == Argument::vector) return decode_vector_move(d);
  if (decode_predicate_logic(d)) return;
  d.refuse_unless(bits_of(d.type) >= 16 && bits_of(d.type) <= 64);
  d.operands(d.width, 1);
  d.in.execute = d.width == 8 ? run_unary<uint64_t, uint64_t, Same> : run_unary<uint32_t, uint32_t, Same>;
}

void decode_convert_address(Decoding& d) {
  d.state_space();
  d.in.mode = d.s.has("to") ? kFromGeneric : kToGeneric;
  d.in.op[0] = d.parser.destination_of_any_width(d.arg(0));
  d.in.op[1] = d.parser.source_of_any_width(d.arg(1), d.in.op[0].width);
  d.in.execute = run_convert_address;
}

}  // namespace

void add_moves(Decoders& all) {
  all["mov"] = decode_move;
  all["cvta"] = decode_convert_address;
}

}  // namespace ptx
