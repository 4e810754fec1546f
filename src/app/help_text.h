// The help of the program and of each command, and the words of its parts. All of it is made from what the
// commands declare, by us and not by CLI11, whose own form depends on its version.
//
// A command's description is one line, which also stands in the list of commands; paragraphs that follow it,
// after an empty line, stand in the command's own help alone. Its footer is shown as it is.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class FormatterBase;
class Option;
}  // namespace CLI

namespace saslm {

std::shared_ptr<CLI::FormatterBase> help_formatter();

// What --help prints.
std::string help_of(const CLI::App& command);

// "saslm bench step"
std::string called(const CLI::App& command);

// What a value of the option is called: "FOLDER", "N", "auto|cpu|cuda"; "" for a flag.
std::string value_name(const CLI::Option& option);

// The values that there are, when the option lists them.
std::vector<std::string> choices_of(const CLI::Option& option);

// Whether further words than the first belong to the option, too.
bool takes_several(const CLI::Option& option);

// Commands of a command that are shown, and options or arguments that are, in the order of their declaration.
std::vector<const CLI::App*> commands_of(const CLI::App& command);
std::vector<const CLI::Option*> options_of(const CLI::App& command);
std::vector<const CLI::Option*> arguments_of(const CLI::App& command);

}  // namespace saslm
