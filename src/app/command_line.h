// Builds all commands and options of the program.
#pragma once
#include "app/command.h"

namespace saslm {

void build_command_line(CLI::App& app, RunCommand& run);

}  // namespace saslm
