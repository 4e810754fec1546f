// saslm: the command line. The only place that catches, and the only one that decides an exit code.
#include <CLI/CLI.hpp>
#include <iostream>
#include <new>

#include "app/command.h"
#include "core/error.h"

namespace {

int fail(int code, const std::string& message) {
  std::cerr << "saslm: " << message << "\n";
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace saslm;
  CLI::App app(
      "Pretrains decoder-only Transformer language models and compares attention variants, SAS above all.");
  app.name("saslm");
  app.require_subcommand(1);
  RunCommand run;
  add_train_command(app, run);
  add_plan_command(app, run);
  add_compare_command(app, run);
  add_eval_command(app, run);
  add_generate_command(app, run);
  add_tokenize_command(app, run);
  add_inspect_command(app, run);
  add_bench_command(app, run);
  add_schema_command(app, run);

  try {
    app.parse(argc, argv);
    return run();
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return fail(2, std::string(e.what()) + "\nrun with --help for the options");
  } catch (const UserError& e) {
    return fail(2, e.what());
  } catch (const DivergedError& e) {
    return fail(3, e.what());
  } catch (const std::bad_alloc&) {
    return fail(1, "out of memory");
  } catch (const std::exception& e) {
    return fail(1, e.what());
  }
}
