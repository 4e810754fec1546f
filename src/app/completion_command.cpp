// saslm completion: scripts that ask the program itself what may come next (app/complete.h).
#include <CLI/CLI.hpp>
#include <iostream>

#include "app/command.h"

namespace saslm {

extern const char *const kBashCompletion, *const kZshCompletion, *const kFishCompletion;

void add_completion_command(CLI::App& app, RunCommand& run) {
  auto shell = std::make_shared<std::string>();
  CLI::App* sub = app.add_subcommand("completion",
                                     "Print a script for shell completion\n\nThe script asks saslm for "
                                     "commands, options, values and config keys, so it fits every version.");
  sub->group("Help");
  sub->add_option("SHELL", *shell, "The shell: bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  sub->footer(
      "To install:\n"
      "  bash    source <(saslm completion bash)    in ~/.bashrc\n"
      "  zsh     source <(saslm completion zsh)     in ~/.zshrc, after compinit\n"
      "  fish    saslm completion fish | source     in ~/.config/fish/config.fish\n"
      "\n"
      "Examples:\n"
      "  saslm completion bash\n");
  sub->callback([shell, &run] {
    run = [shell] {
      std::cout << (*shell == "bash" ? kBashCompletion : *shell == "zsh" ? kZshCompletion : kFishCompletion);
      return kDone;
    };
  });
}

}  // namespace saslm
