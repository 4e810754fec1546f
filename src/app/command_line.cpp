#include "app/command_line.h"

#include <CLI/CLI.hpp>

#include "app/help_text.h"
#include "app/text_layout.h"
#include "app/topics.h"

namespace saslm {
namespace {

// The help after the lists of commands and options.
std::string footer() {
  const std::vector<Topic> all = topics();
  std::vector<Row> rows;
  for (const Topic& topic : all) rows.emplace_back(topic.name, topic.summary);
  return "Topics (saslm help TOPIC):\n" + in_columns(rows, first_column_of(rows), help_width()) +
         "\nHelp on a command or on a config key: saslm help train, saslm help optim.lr\n"
         "\nExamples:\n"
         "  saslm tokenize --input book1.txt --out data/mine --prefix train\n"
         "  saslm tokenize --input book2.txt --out data/mine --prefix val\n"
         "  saslm train my.json\n"
         "  saslm generate --checkpoint runs/my --prompt 'Once'\n"
         "\nExit codes:\n" +
         find_topic(all, "exit-codes")->text;
}

}  // namespace

void build_command_line(CLI::App& app, RunCommand& run) {
  app.name("saslm");
  app.description(
      "saslm pretrains Transformer language models and compares attention variants, especially SAS");
  app.formatter(help_formatter());
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("--version", std::string("saslm ") + SASLM_VERSION, "Print the version and exit");
  app.require_subcommand(1);
  app.footer(footer());
  add_tokenize_command(app, run);
  add_plan_command(app, run);
  add_train_command(app, run);
  add_compare_command(app, run);
  add_eval_command(app, run);
  add_generate_command(app, run);
  add_inspect_command(app, run);
  add_verify_command(app, run);
  add_diff_command(app, run);
  add_export_command(app, run);
  add_import_command(app, run);
  add_selfcheck_command(app, run);
  add_bench_command(app, run);
  add_help_command(app, run);
  add_schema_command(app, run);
  add_completion_command(app, run);
}

}  // namespace saslm
