#include "app/help_text.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "app/text_layout.h"

namespace saslm {
namespace {

class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    return help_of(*app);
  }
};

// "-h, --help", "--run-dir FOLDER", "CONFIG..."
std::string heading(const CLI::Option& option) {
  const std::string more = takes_several(option) ? "..." : "";
  if (option.get_positional()) return option.get_name(true) + more;
  std::string names;
  for (const std::string& name : option.get_snames()) names += (names.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) names += (names.empty() ? "--" : ", --") + name;
  const std::string value = value_name(option);
  return value.empty() ? names : names + " " + value + more;
}

std::string without_brackets(const std::string& list) {
  return list.starts_with("[") && list.ends_with("]") ? list.substr(1, list.size() - 2) : list;
}

// Short remarks are not broken.
std::string remark(std::string text) {
  if (constexpr size_t kShort = 40; text.size() <= kShort)
    std::replace(text.begin(), text.end(), ' ', kNoBreak);
  return " [" + text + "]";
}

std::string explanation(const CLI::Option& option) {
  std::string text = option.get_description();
  if (option.get_required() && !option.get_positional()) text += remark("required");
  for (const CLI::Option* other : option.get_excludes()) text += remark("not with " + other->get_name());
  const std::string value = without_brackets(option.get_default_str());
  return value.empty() ? text : text + remark("default: " + value);
}

std::vector<Row> rows_of(const std::vector<const CLI::Option*>& options) {
  std::vector<Row> rows;
  for (const CLI::Option* option : options) rows.emplace_back(heading(*option), explanation(*option));
  return rows;
}

// The first paragraph, or the following ones; without a final newline.
std::string first_paragraph(const std::string& text) {
  return text.substr(0, text.find("\n\n"));
}
std::string further_paragraphs(const std::string& text, int width) {
  std::string shown;
  for (size_t end = text.find("\n\n"); end != std::string::npos;) {
    const size_t begin = end + 2;
    end = text.find("\n\n", begin);
    shown += "\n" + wrapped(text.substr(begin, end - begin), 0, width);
  }
  return shown;
}

std::string usage(const CLI::App& command) {
  std::string line = called(command);
  if (!commands_of(command).empty()) line += " COMMAND";
  for (const CLI::Option* argument : arguments_of(command))
    line += argument->get_required() ? " " + heading(*argument) : " [" + heading(*argument) + "]";
  for (const CLI::Option* option : options_of(command))
    if (option->get_required()) line += " " + heading(*option);
  return line + " [OPTIONS]";
}

struct Section {
  std::string title;
  std::vector<Row> rows;
};

std::vector<Section> sections_of(const CLI::App& command) {
  std::vector<Section> sections;
  for (const CLI::App* one : commands_of(command)) {
    const std::string& group = one->get_group();
    const auto is_it = [&](const Section& section) { return section.title == group; };
    auto section = std::find_if(sections.begin(), sections.end(), is_it);
    if (section == sections.end()) section = sections.insert(section, {group, {}});
    section->rows.emplace_back(one->get_name(), first_paragraph(one->get_description()));
  }
  sections.push_back({"Arguments", rows_of(arguments_of(command))});
  sections.push_back({"Options", rows_of(options_of(command))});
  std::erase_if(sections, [](const Section& section) { return section.rows.empty(); });
  return sections;
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() {
  return std::make_shared<HelpFormatter>();
}

std::string help_of(const CLI::App& command) {
  const int width = help_width();
  const std::string description = command.get_description();
  const std::vector<Section> sections = sections_of(command);
  std::vector<Row> all;
  for (const Section& section : sections) all.insert(all.end(), section.rows.begin(), section.rows.end());
  const int column = first_column_of(all);
  std::string text = wrapped(first_paragraph(description), 0, width) + "\nUsage: " + usage(command) + "\n" +
                     further_paragraphs(description, width);
  for (const Section& section : sections)
    text += "\n" + section.title + ":\n" + in_columns(section.rows, column, width);
  const std::string footer = command.get_footer();
  return footer.empty() ? text : text + "\n" + footer;
}

std::string called(const CLI::App& command) {
  const CLI::App* const parent = command.get_parent();
  return parent == nullptr ? command.get_name() : called(*parent) + " " + command.get_name();
}

// CLI11's type name may be "TEXT:FOLDER", type and check. Use a name that we set, else the check's, else the
// type.
std::string value_name(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  const std::string name = option.get_type_name();
  const size_t colon = name.find(':');
  const std::string type = name.substr(0, colon);
  const bool by_default = type == "TEXT" || type == "INT" || type == "UINT" || type == "FLOAT";
  if (!by_default || colon == std::string::npos) return type;
  const std::vector<std::string> choices = choices_of(option);
  if (choices.empty()) return name.substr(colon + 1);
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : "|") + choice;
  return list;
}

std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  const size_t begin = name.find(":{");
  if (begin == std::string::npos || !name.ends_with("}")) return {};
  std::istringstream list(name.substr(begin + 2, name.size() - begin - 3));
  std::vector<std::string> choices;
  for (std::string choice; std::getline(list, choice, ',');) choices.push_back(choice);
  return choices;
}

bool takes_several(const CLI::Option& option) {
  return option.get_items_expected_max() > 1 && option.get_allow_extra_args() &&
         option.get_delimiter() == '\0';
}

std::vector<const CLI::App*> commands_of(const CLI::App& command) {
  return command.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); });
}

std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  return command.get_options(
      [](const CLI::Option* one) { return one->nonpositional() && !one->get_group().empty(); });
}

std::vector<const CLI::Option*> arguments_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* one) { return one->get_positional(); });
}

}  // namespace saslm
