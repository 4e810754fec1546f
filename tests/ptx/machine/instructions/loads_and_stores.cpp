// ld, ldu, st (PTX ISA, "Data Movement and Conversion Instructions"), of one to eight elements. Cache
// operators, memory orders and scopes mean nothing here. Checks: run/memory.h.
#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/instructions/lanes.h"
#include "ptx/machine/run/conflicts.h"

namespace ptx {
namespace {

uint64_t element(const Instr& in, const uint8_t* at, int e) {
  uint64_t v = 0;
  std::memcpy(&v, at + e * in.bytes, in.bytes);
  if (!in.is_signed || in.bytes == 8) return v;
  const int unused = 64 - 8 * in.bytes;
  return uint64_t(int64_t(v << unused) >> unused);
}

void run_load(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  const uint32_t bytes = uint32_t(in.elements) * in.bytes;
  if (w.settings().conflicts) count_access(in, lanes, a, bytes);
  for_lanes(lanes, [&](int l) {
    const uint8_t* const at = memory(w, in, l, a.of[l], bytes, Access::read);
    for (int e = 0; e < in.elements; ++e)
      if (in.op[e].width != 0) w.set_value(in.op[e], l, element(in, at, e));
  });
}

// Of the kernel's parameters at an address that is the same for all lanes.
void run_load_param(Warp& w, const Instr& in, uint32_t lanes) {
  const uint64_t address = w.at<uint64_t>(in.address)[0] + uint64_t(in.imm);
  const uint32_t bytes = uint32_t(in.elements) * in.bytes;
  const uint8_t* const at = memory(w, in, 0, address, bytes, Access::read);
  for (int e = 0; e < in.elements; ++e) {
    const uint64_t v = element(in, at, e);
    if (in.op[e].width != 0) for_lanes(lanes, [&](int l) { w.set_value(in.op[e], l, v); });
  }
}

void run_store(Warp& w, const Instr& in, uint32_t lanes) {
  const Addresses a = addresses(w, in);
  const uint32_t bytes = uint32_t(in.elements) * in.bytes;
  if (w.settings().conflicts) count_access(in, lanes, a, bytes);
  for_lanes(lanes, [&](int l) {
    uint8_t* const at = memory(w, in, l, a.of[l], bytes, Access::write);
    for (int e = 0; e < in.elements; ++e) {
      const uint64_t v = w.value(in.op[e], l);
      std::memcpy(at + e * in.bytes, &v, in.bytes);
    }
  });
}

Class class_of(Space space, bool store) {
  switch (space) {
    case Space::shared:
      return store ? Class::st_shared : Class::ld_shared;
    case Space::global:
    case Space::generic:
      return store ? Class::st_global : Class::ld_global;
    case Space::local:
      return Class::local;
    default:
      return Class::other;
  }
}

bool is_parameter_of_entry(const Decoding& d, const Argument& address) {
  if (d.in.space != Space::param || d.parser.find_register(address.text).width != 0) return false;
  const Variable* v = d.parser.find_variable(address.text);
  return v != nullptr && (v->offset & kParamOfFunc) == 0;
}

void decode_load_or_store(Decoding& d) {
  const bool store = d.base == "st";
  d.state_space();
  d.refuse_unless(bits_of(d.type) >= 8 && !d.s.has("async"));
  d.in.bytes = uint8_t(bits_of(d.type) / 8);
  d.in.is_signed = d.type[0] == 's';
  d.in.counted = class_of(d.in.space, store);
  const Argument &address = d.arg(store ? 0 : 1), &values = d.arg(store ? 1 : 0);
  d.parser.address(address, d.in);
  const auto items = values.type == Argument::vector ? values.items : std::vector<Argument>{values};
  d.in.elements = d.s.has("v2") ? 2 : d.s.has("v4") ? 4 : d.s.has("v8") ? 8 : 1;
  if (items.size() != d.in.elements) d.parser.fail("vector of another length", d.s.op);
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].type == Argument::underscore && !store) continue;
    d.in.op[i] =
        store ? d.parser.source_of_any_width(items[i], d.width) : d.parser.destination_of_any_width(items[i]);
    const int width = d.in.op[i].width;
    if (width == 1 || (!store && width < d.in.bytes)) d.parser.fail("register too narrow", items[i].text);
  }
  d.in.execute = store ? run_store : is_parameter_of_entry(d, address) ? run_load_param : run_load;
}

}  // namespace

void add_loads_and_stores(Decoders& all) {
  all["ld"] = all["ldu"] = all["st"] = decode_load_or_store;
}

}  // namespace ptx
