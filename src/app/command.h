// A subcommand is a file with one add_*_command, which declares its options. If the command is chosen, it
// sets `run` to the work to do, which returns the exit code.
#pragma once
#include <exception>
#include <functional>

namespace CLI {
class App;
}

namespace saslm {

using RunCommand = std::function<int()>;

// Exit codes; errors have their own (core/error.h): 1 machine, 2 user, 3 diverged.
constexpr int kDone = 0;
constexpr int kDiffers = 4;  // diff, verify
constexpr int kStoppedToResume = 75;

// Prints an error on standard error, ends the other ranks, and returns the exit code.
int report(const std::exception& error);

void add_tokenize_command(CLI::App& app, RunCommand& run);
void add_plan_command(CLI::App& app, RunCommand& run);
void add_train_command(CLI::App& app, RunCommand& run);
void add_compare_command(CLI::App& app, RunCommand& run);
void add_eval_command(CLI::App& app, RunCommand& run);
void add_generate_command(CLI::App& app, RunCommand& run);
void add_inspect_command(CLI::App& app, RunCommand& run);
void add_verify_command(CLI::App& app, RunCommand& run);
void add_diff_command(CLI::App& app, RunCommand& run);
void add_export_command(CLI::App& app, RunCommand& run);
void add_import_command(CLI::App& app, RunCommand& run);
void add_selfcheck_command(CLI::App& app, RunCommand& run);
void add_bench_command(CLI::App& app, RunCommand& run);
void add_bench_kernels_command(CLI::App& bench, RunCommand& run);
void add_bench_ranks_command(CLI::App& bench, RunCommand& run);
void add_help_command(CLI::App& app, RunCommand& run);
void add_schema_command(CLI::App& app, RunCommand& run);
void add_completion_command(CLI::App& app, RunCommand& run);

}  // namespace saslm
