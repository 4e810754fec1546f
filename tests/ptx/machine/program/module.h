// A module's text, cut into functions and variables (PTX ISA, "Directives"). Kernels are parsed when first
// asked for. Errors: Unreadable, with the line.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx/machine/program/kernel.h"
#include "ptx/machine/program/text.h"

namespace ptx {

class Module {
 public:
  // A function of the text. Both views begin at the line that is given.
  struct Source {
    bool entry = false;
    std::string_view head, body;
    int body_line = 0;
  };
  struct Shared {
    std::string name;
    uint32_t align, size;
  };
  struct Bytes {
    const void* at;
    size_t size;
  };

  explicit Module(std::string text);

  std::shared_ptr<Kernel> kernel(const std::string& name);
  void* variable(std::string_view name) const;  // of .global or .const; else null
  std::vector<Bytes> variables() const;

  // For the parser.
  const Source* function(const std::string& name) const;
  const std::vector<Shared>& shared() const { return shared_; }  // of the module's scope
  bool is_dynamic_shared(std::string_view name) const { return dynamic_shared_.contains(std::string(name)); }

 private:
  void read(Cursor& c);
  bool skip_directive(Cursor& c, std::string_view word);
  void read_file(Cursor& c);
  void read_shared(std::string_view text, bool is_extern);
  void read_variable(std::string_view text);
  void read_function(Cursor& c, bool entry);

  struct Variable {
    std::unique_ptr<uint8_t[]> storage;
    uint8_t* at;
    size_t size;
  };
  std::string text_;
  std::unordered_map<std::string, Source> functions_;
  std::unordered_map<std::string, Variable> variables_;
  std::vector<Shared> shared_;
  std::unordered_map<std::string, uint32_t> dynamic_shared_;
  std::unordered_map<int, std::string> files_;
  std::unordered_map<std::string, std::shared_ptr<Kernel>> kernels_;
};

}  // namespace ptx
