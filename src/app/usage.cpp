#include "app/usage.h"

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdint>
#include <optional>

#include "config/advice.h"
#include "core/nearest.h"

namespace saslm {

namespace {

// A subcommand by name; nullptr if there is none.
const CLI::App* command_of(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    if (command->get_name() == name) return command;
  return nullptr;
}

std::vector<std::string> command_names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::string question(const std::optional<std::string>& meant) {
  return meant ? "; did you mean " + *meant + "?" : "";
}

// "--rundir" of "--rundir=x", "-n"; "" when the word is neither.
std::string option_in(const std::string& word) {
  if (word.size() == 2 && word[0] == '-' && std::isalpha(uint8_t(word[1])) != 0) return word;
  if (!word.starts_with("--") || word.size() == 2) return "";
  return word.substr(0, word.find('='));
}

bool takes_a_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// The first word that looks like an option but is not one. Values of options are skipped.
std::optional<std::string> unknown_option(const CLI::App& command, const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") return {};
    const std::string name = option_in(words[i]);
    if (name.empty()) continue;
    const CLI::Option* const option = command.get_option_no_throw(name);
    if (option == nullptr) return name;
    if (takes_a_value(*option) && words[i].find('=') == std::string::npos) ++i;
  }
  return {};
}

std::string advice_on_option(const CLI::App& command, const std::string& name) {
  if (!name.starts_with("--")) return "";
  std::vector<std::string> there;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& known : option->get_lnames()) there.push_back(known);
  const std::string word = name.substr(2);
  const bool has_set = command.get_option_no_throw("--set") != nullptr;
  const std::string key = has_set ? config_key_of(word) : "";
  const std::optional<std::string> meant = nearest(word, there);
  if (!key.empty() && (!meant || key.ends_with("." + snake_case(word))))
    return "; to set a config key: --set " + key + "=VALUE";
  return question(meant ? std::optional("--" + *meant) : std::nullopt);
}

}  // namespace

UsageProblem usage_problem(const CLI::App& app, const CLI::ParseError& error,
                           const std::vector<std::string>& arguments) {
  const CLI::App* command = &app;
  std::string called = "saslm";
  size_t at = 0;
  for (; at < arguments.size(); ++at) {  // commands, and commands of commands, come first
    const CLI::App* const next = command_of(*command, arguments[at]);
    if (next == nullptr) break;
    command = next;
    called += " " + arguments[at];
  }
  const std::string help = called + " --help";
  const std::vector<std::string> words(arguments.begin() + std::ptrdiff_t(at), arguments.end()),
      names = command_names_of(*command);
  if (!names.empty() && !words.empty() && !words[0].starts_with("-"))
    return {"there is no command " + called.substr(std::min(called.size(), size_t(6))) + (at > 0 ? " " : "") +
                words[0] + question(nearest(words[0], names)),
            help};
  if (!names.empty() && words.empty()) {
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    return {called + " needs a command: " + list, help};
  }
  if (const auto option = unknown_option(*command, words))
    return {called + " has no option " + *option + advice_on_option(*command, *option), help};
  const std::string what = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr && what.ends_with(" missing"))
    return {called + ": " + what.substr(0, what.find(": ")) + " needs a value", help};
  return {what, help};
}

}  // namespace saslm
