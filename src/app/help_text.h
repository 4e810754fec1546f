// Help texts of the program and its commands, made from their declarations. We format them ourselves, because
// CLI11's format depends on its version.
//
// A command's description is one line, also used in the list of commands; paragraphs after an empty line
// appear only in the command's own help. The footer is shown unchanged.
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

// The placeholder of an option's value: "FOLDER", "N", "auto|cpu|cuda"; "" for a flag.
std::string value_name(const CLI::Option& option);

// The allowed values, if the option lists them.
std::vector<std::string> choices_of(const CLI::Option& option);

// Whether the option takes several words.
bool takes_several(const CLI::Option& option);

// The visible subcommands, options and arguments of a command, in order of declaration.
std::vector<const CLI::App*> commands_of(const CLI::App& command);
std::vector<const CLI::Option*> options_of(const CLI::App& command);
std::vector<const CLI::Option*> arguments_of(const CLI::App& command);

}  // namespace saslm
