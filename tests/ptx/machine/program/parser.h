// Turns one kernel of a module, and the functions that it calls, into decoded instructions.
//
// Registers are given slots of the warp's register file; constants are registers that are filled when a
// launch begins; labels become indices of instructions. .param of a .func lies in local memory, so that
// recursion is not supported. Errors: Unreadable, with line, kernel and the text that is not understood.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx/machine/program/kernel.h"
#include "ptx/machine/program/module.h"
#include "ptx/machine/program/text.h"

namespace ptx {

class Parser {
 public:
  Parser(const Module& module, Kernel& kernel) : module_(module), k(kernel) {}
  void parse();

  // For the decoders of instructions/. A register of `width` bytes a lane (4, 8; 1: a predicate), or a
  // constant.
  Operand source(const Argument& a, int width);
  Operand source_of_any_width(const Argument& a, int width_of_constant);
  Operand destination(const Argument& a, int width);
  Operand destination_of_any_width(const Argument& a);
  Operand find_register(std::string_view name) const;  // its width is 0 where there is none
  void address(const Argument& a, Instr& in);          // into in.address and in.imm
  const Variable* find_variable(std::string_view name) const;
  uint64_t number(const Argument& a) const;  // an immediate integer
  [[noreturn]] void fail(const std::string& why, std::string_view near = {}) const;
  Kernel& kernel() { return k; }

 private:
  struct Scope {
    std::unordered_map<std::string_view, Operand> registers;
    std::unordered_map<std::string_view, Variable> variables;
  };
  struct Fixup {
    int instruction;
    std::string_view label;
  };
  struct Literal {
    uint64_t bits;
    int float_bytes;  // 0: an integer
  };

  // parser.cpp: functions and directives
  void lay_out_module_shared();
  int function(const std::string& name);
  void lay_out(std::vector<Param>& params, std::string_view list, bool entry);
  void parse_function(int index);
  void declare_params(const Module::Source& source);
  void name_params(const std::vector<Param>& params, std::string_view list, bool entry);
  void parse_body(Cursor& c);
  bool parse_directive(Cursor& c, std::string_view word);
  void parse_location(Cursor& c);
  void parse_pragma(std::string_view text);
  void declare_registers(std::string_view text);
  void declare_shared(std::string_view text);
  void declare_local(std::string_view text, Space space);
  void resolve_labels();

  // statements.cpp: instructions, control flow
  void parse_instruction(Cursor& c);
  void parse_control(Statement& s, Instr& in);
  void use_dynamic_shared(const Statement& s);
  void add_call(const Statement& s, Instr in, std::string_view text);
  void add(const Instr& in, std::string_view text);
  void add_end();

  // operands.cpp: names and literals
  uint32_t slot(int width);
  Operand constant(int width, uint64_t bits);
  Operand special_register(std::string_view name);
  bool literal(std::string_view text, Literal& out) const;

  const Module& module_;
  Kernel& k;
  int function_index_ = 0;  // of the function that is parsed
  int line_ = 0;
  int location_ = -1;
  uint32_t used_bytes_ = ~0u;      // of the next load
  std::vector<Scope> scopes_;      // [0]: the module, [1]: the function, then its blocks
  std::deque<std::string> names_;  // of %r<100>: scopes point at them
  std::unordered_map<std::string_view, int> labels_;
  std::vector<Fixup> fixups_;
  std::map<std::pair<int, uint64_t>, uint32_t> constants_;  // width, bits -> slot
  uint32_t next_predicate_ = 0, end_of_predicates_ = 0;
  std::unordered_map<std::string, int> functions_;
};

}  // namespace ptx
