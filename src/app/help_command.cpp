// saslm help: of a command, a topic, or a key of the config.
#include <CLI/CLI.hpp>
#include <iostream>

#include "app/command.h"
#include "app/help_text.h"
#include "app/print_key.h"
#include "app/topics.h"
#include "config/advice.h"
#include "core/error.h"
#include "core/nearest.h"

namespace saslm {
namespace {

constexpr std::string_view kOfConfig =
    "config.";  // distinguishes a config block from a command of the same name

// The command with this name; nullptr if there is none.
const CLI::App* command_named(const CLI::App& program, const std::vector<std::string>& words) {
  const CLI::App* command = &program;
  for (const std::string& word : words) {
    const CLI::App* next = nullptr;
    for (const CLI::App* one : commands_of(*command))
      if (one->get_name() == word) next = one;
    if (next == nullptr) return nullptr;
    command = next;
  }
  return command;
}

std::optional<ConfigKey> key_named(const std::string& word) {
  if (word.starts_with(kOfConfig)) return config_key(word.substr(kOfConfig.size()));
  if (auto key = config_key(word)) return key;
  const std::string path = config_key_of(word);
  return path.empty() ? std::nullopt : config_key(path);
}

[[noreturn]] void refuse(const CLI::App& program, const std::string& what) {
  std::vector<std::string> there = config_keys();
  for (const Topic& topic : topics()) there.push_back(topic.name);
  for (const CLI::App* command : commands_of(program)) {
    there.push_back(command->get_name());
    for (const CLI::App* part : commands_of(*command))
      there.push_back(command->get_name() + " " + part->get_name());
  }
  const std::optional<std::string> meant = nearest(what, there);
  throw ConfigError("there is no help on " + what + (meant ? "; did you mean " + *meant + "?" : ".") +
                    " `saslm --help` lists commands and topics, `saslm schema` the config keys");
}

int help(const CLI::App& program, const std::vector<std::string>& words) {
  std::string what;
  for (const std::string& word : words) what += (what.empty() ? "" : " ") + word;
  const std::vector<Topic> all = topics();
  if (const CLI::App* command = command_named(program, words)) {
    std::cout << help_of(*command);
    if (!what.empty() && config_key(what))
      std::cout << "\nThe config block of this name: saslm help " << kOfConfig << what << "\n";
  } else if (const Topic* topic = find_topic(all, what)) {
    std::cout << topic->text;
  } else if (const auto key = key_named(what)) {
    print(*key);
  } else {
    refuse(program, what);
  }
  return kDone;
}

}  // namespace

void add_help_command(CLI::App& app, RunCommand& run) {
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* sub = app.add_subcommand("help", "Explain a command, a topic or a config key");
  sub->group("Help");
  sub->add_option("WHAT", *words,
                  "A command, a topic (see `saslm --help`) or a config key (such as optim.lr)")
      ->type_name("TOPIC");
  sub->footer(
      "Examples:\n"
      "  saslm help train\n"
      "  saslm help resume\n"
      "  saslm help optim.lr\n"
      "  saslm help model.attention.sas\n");
  sub->callback([words, &app, &run] { run = [words, &app] { return help(app, *words); }; });
}

}  // namespace saslm
