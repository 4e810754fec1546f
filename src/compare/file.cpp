#include "compare/file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <string_view>

#include "config/json_text.h"
#include "core/error.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr std::array kBudgetWords = {"tokens", "flops", "seconds"};
const std::vector<std::string> kKeys = {"base",   "variants",     "seeds",      "baseline",
                                        "budget", "budget_value", "eval_points"};
const std::vector<std::string> kVariantKeys = {"name", "set"};
constexpr size_t kMaxName = 64;
constexpr int64_t kMaxEvalPoints = 100000;

[[noreturn]] void fail(const std::string& message) {
  throw ConfigError(message);
}

// Runs `work` and puts the source in front of its errors.
template <class Work>
auto naming(const std::string& source, Work work) {
  try {
    return work();
  } catch (const ConfigError& error) {
    throw ConfigError(source + ": " + error.what());
  }
}

void check_keys(const json& object, const std::string& path, const std::vector<std::string>& valid) {
  for (const auto& entry : object.items())
    if (std::find(valid.begin(), valid.end(), entry.key()) == valid.end())
      fail("unknown key " + path + shorten(entry.key()) + advice(shorten(entry.key()), valid));
}

const json& required(const json& object, std::string_view path, const char* key, const char* wanted) {
  const auto found = object.find(key);
  if (found == object.end()) fail(std::string(path) + key + " is missing; wanted " + wanted);
  return *found;
}

// Whether one of the nodes at `a` and `b` contains the other.
bool overlap(const std::string& a, const std::string& b) {
  const std::string &shorter = a.size() < b.size() ? a : b, &longer = a.size() < b.size() ? b : a;
  return longer.starts_with(shorter) && (longer.size() == shorter.size() || longer[shorter.size()] == '.');
}

void check_name(const json& value, const std::string& path) {
  const char* wanted =
      "wanted a name of at most 64 letters, digits, '_', '-' and '.', starting with a letter or digit (it "
      "becomes a folder's name)";
  if (!value.is_string()) fail(path + ": " + wanted + ", got " + describe(value));
  const std::string name = value.get<std::string>();
  const auto plain = [](unsigned char c) { return c < 128 && std::isalnum(c); };
  const bool fine = !name.empty() && name.size() <= kMaxName && plain(static_cast<unsigned char>(name[0])) &&
                    std::all_of(name.begin(), name.end(), [&](unsigned char c) {
                      return plain(c) || c == '_' || c == '-' || c == '.';
                    });
  if (!fine) fail(path + ": " + wanted + ", got " + describe(value));
}

// Refuses keys that the comparison sets.
void check_set_key(const std::string& key, const std::string& path) {
  struct Reserved {
    const char *key, *instead;
  };
  for (const Reserved& r :
       {Reserved{"train.seed", "seeds are set for all variants by \"seeds\""},
        Reserved{"train.steps", "the steps of a variant follow from \"budget\" and \"budget_value\""},
        Reserved{"eval.every_steps", "\"eval_points\" sets the evaluations"}})
    if (overlap(key, r.key)) fail(path + ": sets " + std::string(r.key) + ", but " + r.instead);
}

CompareVariant read_variant(const json& value, const std::string& path) {
  if (!value.is_object()) fail(path + ": wanted an object with a name and a set, got " + describe(value));
  check_keys(value, path + ".", kVariantKeys);
  const json& name = required(value, path + ".", "name", "a string");
  check_name(name, path + ".name");
  CompareVariant variant{.name = name.get<std::string>(), .set = json::object()};
  if (const auto set = value.find("set"); set != value.end()) variant.set = *set;
  const std::string set_path = path + ".set";
  if (!variant.set.is_object())
    fail(set_path + ": wanted an object such as {\"optim.lr\": 1e-3}, got " + describe(variant.set));
  for (const auto& entry : variant.set.items()) {
    check_set_key(entry.key(), set_path + "." + shorten(entry.key()));
    for (const auto& other : variant.set.items())
      if (entry.key() < other.key() && overlap(entry.key(), other.key()))
        fail(set_path + ": " + shorten(entry.key()) + " and " + shorten(other.key()) +
             " overwrite each other; give only one of them");
  }
  return variant;
}

void read_variants(const json& value, CompareFile& file) {
  if (!value.is_array() || value.size() < 2)
    fail("variants: wanted a list of at least two, such as [{\"name\": \"mha\", \"set\": {}}, ...], got " +
         describe(value));
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = "variants[" + std::to_string(i) + "]";
    file.variants.push_back(read_variant(value[i], path));
    for (size_t j = 0; j < i; ++j)
      if (file.variants[j].name == file.variants[i].name)
        fail(path + ".name: \"" + file.variants[i].name + "\" is taken by variants[" + std::to_string(j) +
             "]; every variant needs its own");
  }
}

std::vector<uint64_t> read_seeds(const json& value) {
  if (!value.is_array() || value.empty())
    fail("seeds: wanted a list of at least one seed, such as [1, 2, 3], got " + describe(value));
  std::vector<uint64_t> seeds;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = "seeds[" + std::to_string(i) + "]";
    if (!value[i].is_number_unsigned())
      fail(path + ": wanted an integer from 0 to 18446744073709551615, got " + describe(value[i]));
    const auto seed = value[i].get<uint64_t>();
    if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end())
      fail(path + ": " + std::to_string(seed) + " is given twice");
    seeds.push_back(seed);
  }
  return seeds;
}

size_t read_baseline(const json& value, const std::vector<CompareVariant>& variants) {
  std::vector<std::string> names;
  for (const CompareVariant& variant : variants) names.push_back(variant.name);
  if (!value.is_string()) fail("baseline: wanted the name of a variant, got " + describe(value));
  const auto found = std::find(names.begin(), names.end(), value.get<std::string>());
  if (found == names.end())
    fail("baseline: there is no variant " + describe(value) +
         advice(shorten(value.get<std::string>()), names));
  return size_t(found - names.begin());
}

void read_budget(const json& root, CompareFile& file) {
  const char* wanted = "one of \"tokens\", \"flops\", \"seconds\"";
  const json& word = required(root, "", "budget", wanted);
  const auto found =
      std::find_if(kBudgetWords.begin(), kBudgetWords.end(), [&](const char* w) { return word == w; });
  if (found == kBudgetWords.end()) fail("budget: wanted " + std::string(wanted) + ", got " + describe(word));
  file.budget = Budget(found - kBudgetWords.begin());

  if (const auto value = root.find("budget_value"); value != root.end()) {
    if (!value->is_number() || !(value->get<double>() > 0))
      fail("budget_value: wanted a number of " + std::string(*found) + " above 0, got " + describe(*value));
    file.budget_value = value->get<double>();
  } else if (file.budget == Budget::seconds) {
    fail("budget_value is missing; wanted the seconds that each run may train (budget \"seconds\")");
  }
}

CompareFile read_compare_file(const json& root, const std::string& path) {
  if (root.contains("model") && !root.contains("variants"))
    fail(
        "this is the config of a run; saslm compare takes a file with base (that config, or its path), "
        "variants and seeds");
  check_keys(root, "", kKeys);
  CompareFile file{.path = path, .base_path = path};
  file.base = required(root, "", "base", "a config, or the path of one");
  read_variants(required(root, "", "variants", "a list of at least two"), file);
  file.seeds = read_seeds(required(root, "", "seeds", "a list such as [1, 2, 3]"));
  if (const auto baseline = root.find("baseline"); baseline != root.end())
    file.baseline = read_baseline(*baseline, file.variants);
  read_budget(root, file);
  if (const auto points = root.find("eval_points"); points != root.end()) {
    if (!points->is_number_integer() || *points < 1 || *points > kMaxEvalPoints)
      fail("eval_points: wanted an integer from 1 to " + std::to_string(kMaxEvalPoints) + ", got " +
           describe(*points));
    file.eval_points = points->get<int64_t>();
  }
  if (file.base.is_string()) {
    const auto folder = std::filesystem::path(path).parent_path();
    file.base_path = (folder / file.base.get<std::string>()).string();
    file.base = naming("base: " + file.base_path, [&] { return read_config_object(file.base_path); });
  } else if (!file.base.is_object()) {
    fail("base: wanted a config, or the path of one, got " + describe(file.base));
  }
  return file;
}

std::string described(const AttentionConfig& attention) {
  std::string text = std::string("kind \"") + name_of(attention.kind) + '"';
  if (attention.sas && attention.kind != AttentionKind::sas) text += " with a sas block";
  if (attention.moh && attention.kind != AttentionKind::moh) text += " with a moh block";
  return text;
}

// A variant named like a kind must be of that kind, without other stages: if the base is of kind sas, a
// variant "mha" that sets nothing would be SAS under the name of MHA.
void check_is_what_it_is_called(const std::string& name, const AttentionConfig& attention) {
  using enum AttentionKind;
  for (const AttentionKind kind : {mha, mqa, gqa, sas, mla, tpa, mhe, moh}) {
    if (name != name_of(kind)) continue;
    const bool of_stage = (kind == sas && attention.sas) || (kind == moh && attention.moh);
    const bool is = (attention.kind == kind || of_stage) && attention.sas.has_value() == (kind == sas) &&
                    attention.moh.has_value() == (kind == moh);
    if (!is)
      fail("its model's attention is " + described(attention) +
           ", so its results would appear under the wrong name; replace the whole \"model.attention\" in its "
           "\"set\", or choose another name than \"" +
           name + '"');
  }
}

std::string key_of(const std::string& override_argument) {
  return override_argument.substr(0, override_argument.find('='));
}

bool is_comparison_key(const std::string& key) {
  return std::find(kKeys.begin(), kKeys.end(), key.substr(0, key.find('.'))) != kKeys.end();
}

void override_base(CompareFile& file, const std::string& argument) {
  // Without budget_value, the budget follows from the base's steps.
  if (key_of(argument) != "train.steps" || file.budget_value)
    check_set_key(key_of(argument), "--set " + shorten(argument));
  for (const CompareVariant& variant : file.variants)
    for (const auto& entry : variant.set.items())
      if (overlap(entry.key(), key_of(argument)))
        fail("--set " + shorten(argument) + ": variant " + variant.name + " sets " + entry.key() +
             " itself, which would override this; change it in the file");
  apply_override(file.base, argument);
}

}  // namespace

const char* name_of(Budget budget) {
  return kBudgetWords.at(size_t(budget));
}

bool is_compare_file(const std::string& path) {
  std::error_code unknown;
  const auto status = std::filesystem::status(path, unknown);
  if (exists(status) && !is_regular_file(status) && !is_directory(status))
    return false;  // a pipe can be read only once; it is a run's config
  return naming(path, [&] {
    const json root = read_config_object(path);
    return !root.contains("model") && (root.contains("variants") || root.contains("base"));
  });
}

CompareFile load_compare_file(const std::string& path, const std::vector<std::string>& overrides) {
  return naming(path, [&] {
    json root = read_config_object(path);
    for (const std::string& argument : overrides)
      if (is_comparison_key(key_of(argument))) apply_override(root, argument);
    CompareFile file = read_compare_file(root, path);
    for (const std::string& argument : overrides)
      if (!is_comparison_key(key_of(argument))) override_base(file, argument);
    return file;
  });
}

Config variant_config(const CompareFile& file, const CompareVariant& variant, std::optional<int64_t> steps) {
  return naming(file.path + ": variant " + variant.name, [&] {
    json root = file.base;
    for (const auto& entry : variant.set.items()) set_node(root, entry.key(), entry.value());
    if (steps) set_node(root, "train.steps", *steps);
    Config config = config_of(root, file.base_path, file.ranks);
    check_is_what_it_is_called(variant.name, config.model.attention);
    return config;
  });
}

}  // namespace saslm
