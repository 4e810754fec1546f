#include "app/complete.h"

#include <CLI/CLI.hpp>

#include "app/help_text.h"
#include "app/topics.h"
#include "config/keys.h"

namespace saslm {
namespace {

using Words = std::vector<std::string>;

std::string line_of(const std::string& word, const std::string& what) {
  std::string text = what.substr(0, what.find('\n'));
  if (constexpr size_t kLong = 70; text.size() > kLong)
    text = text.substr(0, text.rfind(' ', kLong)) + " ...";
  return word + "\t" + text;
}

// Completes KEY, then KEY=VALUE if there are few values.
Words settings(const std::string& begin) {
  Words lines;
  const size_t equals = begin.find('=');
  if (equals != std::string::npos) {
    if (const auto key = config_key(begin.substr(0, equals)))
      for (const std::string& word : key->words) lines.push_back(begin.substr(0, equals + 1) + word);
    return lines;
  }
  for (const std::string& path : config_keys())
    if (const auto key = config_key(path); key->children.empty())
      lines.push_back(line_of(path + "=", key->help));
  return lines;
}

Words everything_with_help(const CLI::App& program) {
  Words lines;
  for (const CLI::App* command : commands_of(program))
    lines.push_back(line_of(command->get_name(), command->get_description()));
  for (const Topic& topic : topics()) lines.push_back(line_of(topic.name, topic.summary));
  for (const std::string& path : config_keys()) lines.push_back(line_of(path, config_key(path)->help));
  return lines;
}

Words values_of(const CLI::Option& option, const CLI::App& program, const std::string& begin) {
  if (const Words choices = choices_of(option); !choices.empty()) return choices;
  const std::string name = value_name(option);
  if (name == "KEY=VALUE") return settings(begin);
  if (name == "TOPIC") return everything_with_help(program);
  if (name == "FILE" || name == "PATTERN" || name == "PATH") return {":files"};
  return name == "FOLDER" ? Words{":folders"} : Words{};
}

// What the words before the completed one mean.
struct Context {
  const CLI::App* command;
  const CLI::Option* awaiting = nullptr;  // an option whose value comes next
  size_t arguments = 0;                   // already given
  bool options_over = false;              // by "--"
};

// None after "--".
Words options_lines(const Context& context) {
  Words lines;
  if (context.options_over) return lines;
  for (const CLI::Option* option : options_of(*context.command))
    for (const std::string& name : option->get_lnames())
      lines.push_back(line_of("--" + name, option->get_description()));
  return lines;
}

const CLI::App* find_command(const CLI::App& of, const std::string& name) {
  for (const CLI::App* one : commands_of(of))
    if (one->get_name() == name) return one;
  return nullptr;
}

void pass(Context& context, const std::string& word) {
  const CLI::Option* const option = word.starts_with("-") && word.size() > 1 && !context.options_over
                                        ? context.command->get_option_no_throw(word)
                                        : nullptr;
  if (context.awaiting != nullptr && option == nullptr) {
    if (!takes_several(*context.awaiting)) context.awaiting = nullptr;
  } else if (option != nullptr) {
    context.awaiting = value_name(*option).empty() ? nullptr : option;
  } else if (word == "--") {
    context.options_over = true;
  } else if (word.starts_with("-") && !context.options_over) {
    context.awaiting = nullptr;  // --option=value, or unknown
  } else if (const CLI::App* next = find_command(*context.command, word); next && context.arguments == 0) {
    context.command = next;
  } else {
    ++context.arguments;
  }
}

Words argument_lines(const Context& context, const CLI::App& program, const std::string& begin) {
  Words lines;
  for (const CLI::App* one : commands_of(*context.command))
    lines.push_back(line_of(one->get_name(), one->get_description()));
  if (!lines.empty()) return context.arguments == 0 ? lines : Words{};
  const std::vector<const CLI::Option*> arguments = arguments_of(*context.command);
  if (arguments.empty()) return options_lines(context);
  const CLI::Option* const last = arguments.back();
  const bool more = context.arguments < arguments.size() || last->get_items_expected_max() > 1;
  const CLI::Option* const next = context.arguments < arguments.size() ? arguments[context.arguments] : last;
  return more ? values_of(*next, program, begin) : options_lines(context);
}

Words candidates(const Context& context, const CLI::App& program, const std::string& begin) {
  if (begin.starts_with("-") && !context.options_over) {
    const size_t equals = begin.find('=');
    if (equals == std::string::npos) return options_lines(context);
    const CLI::Option* const option = context.command->get_option_no_throw(begin.substr(0, equals));
    if (option == nullptr) return {};
    Words lines = values_of(*option, program, begin.substr(equals + 1));
    for (std::string& line : lines)
      if (!line.starts_with(":")) line = begin.substr(0, equals + 1) + line;
    return lines;
  }
  if (context.awaiting != nullptr) return values_of(*context.awaiting, program, begin);
  return argument_lines(context, program, begin);
}

}  // namespace

std::vector<std::string> completions(const CLI::App& app, const std::vector<std::string>& words) {
  Context context{.command = &app};
  for (size_t i = 0; i + 1 < words.size(); ++i) pass(context, words[i]);
  const std::string begin = words.empty() ? "" : words.back();
  Words fitting;
  for (std::string& line : candidates(context, app, begin))
    if (line.starts_with(begin) || line.starts_with(":")) fitting.push_back(std::move(line));
  return fitting;
}

}  // namespace saslm
