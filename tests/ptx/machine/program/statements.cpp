// Instructions: guard, operation, operands; branches and calls here, the rest in instructions/.
#include <stdexcept>

#include "ptx/machine/instructions/decoding.h"
#include "ptx/machine/program/parser.h"

namespace ptx {

void Parser::add(const Instr& in, std::string_view text) {
  k.code.push_back(in);
  k.text.emplace_back(text);
}

// What falls off the end of a function leaves it.
void Parser::add_end() {
  Instr end;
  end.kind = function_index_ != 0 ? Kind::ret : Kind::exit;
  end.extra = function_index_;
  add(end, "(end)");
}

void Parser::parse_instruction(Cursor& c) {
  Instr in;
  in.line = c.line;
  in.location = location_;
  c.skip_blanks();
  const size_t begin = c.at;
  if (c.take('@')) {
    in.guard_not = c.take('!');
    const auto name = c.word();
    const Operand guard = find_register(name);
    if (guard.width != 1) fail("guard is not a predicate", name);
    in.guard = int32_t(guard.offset);
  }
  const auto op = c.word();
  if (op.empty()) fail("not understood", c.text.substr(c.at, 80));
  Statement s(op, trim(c.until(';')));
  const auto text = c.text.substr(begin, c.at - begin);
  use_dynamic_shared(s);
  try {
    if (s.parts[0] == "call") return add_call(s, in, text);
    parse_control(s, in);
  } catch (const std::out_of_range&) {
    fail("too few operands", text);
  }
  add(in, text);
}

void Parser::parse_control(Statement& s, Instr& in) {
  const auto base = s.parts[0];
  if (base == "bra") {
    in.kind = Kind::branch;
    in.counted = Class::branch;
    fixups_.push_back({int(k.code.size()), s.args.at(0).text});
  } else if (base == "ret") {
    in.kind = function_index_ != 0 ? Kind::ret : Kind::exit;
    in.extra = function_index_;
    in.counted = Class::branch;
  } else if (base == "exit") {
    in.kind = Kind::exit;
  } else {
    if (base == "ld") {
      in.used_bytes = used_bytes_;
      used_bytes_ = ~0u;
    }
    decode(*this, s, in);
  }
}

// All names of dynamic shared memory are one place, behind any static variable.
void Parser::use_dynamic_shared(const Statement& s) {
  for (const Argument& a : s.args) {
    if (a.type != Argument::word && a.type != Argument::address) continue;
    if (!module_.is_dynamic_shared(a.text) || find_variable(a.text) != nullptr) continue;
    k.uses_dynamic_shared = true;
    scopes_[0].variables[a.text] = {Space::shared, kDynamicShared, 0};
  }
}

// call{.uni} (results), name, (arguments); without either list where there is none
void Parser::add_call(const Statement& s, Instr in, std::string_view text) {
  std::vector<std::string_view> arguments, results;
  std::string callee;
  for (const Argument& a : s.args) {
    if (a.type != Argument::vector) {
      callee = std::string(a.text);
    } else {
      for (const Argument& item : a.items) (callee.empty() ? results : arguments).push_back(item.text);
    }
  }
  CallSite site;
  site.callee = function(callee);
  const Function& f = k.functions[size_t(site.callee)];
  if (arguments.size() != f.params.size() || results.size() != f.results.size())
    fail("call with other parameters than the function has", text);
  const auto place = [&](std::string_view name) {
    const Variable* v = find_variable(name);
    if (v == nullptr) fail("unknown parameter", name);
    return uint32_t(v->offset) & ~kParamOfFunc;
  };
  for (size_t i = 0; i < arguments.size(); ++i)
    site.arguments.push_back({place(arguments[i]), f.params[i].offset, f.params[i].size});
  for (size_t i = 0; i < results.size(); ++i)
    site.results.push_back({f.results[i].offset, place(results[i]), f.results[i].size});

  in.kind = Kind::call;
  in.extra = int(k.calls.size());
  k.calls.push_back(site);
  add(in, text.substr(0, 160));
  Instr after;
  after.kind = Kind::after_call;
  after.extra = in.extra;
  after.line = in.line;
  after.location = in.location;
  add(after, "(return of the call)");
}

}  // namespace ptx
