// Input: the text of a comparison file, and after each line "--set" an override. Its base may be the file
// base.json.
#include <set>

#include "compare/file.h"
#include "core/error.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_compare {

constexpr std::string_view kSet = "\n--set ";
constexpr std::string_view kBase =
    R"({"model": {"vocab_size": 256, "n_layer": 2, "d_model": 32, "max_seq_len": 16,
 "attention": {"kind": "mha", "n_head": 4, "head_dim": 8}, "mlp": {"hidden": 64}}, "data": {"train": "a.bin"}})";

bool run(std::string_view input) {
  static const Scratch scratch;
  static const std::string base = scratch.write("base.json", kBase);
  const auto [text, rest] = cut(input, kSet);
  const std::vector<std::string> overrides = cut_all(rest, kSet);
  const std::string path = scratch.write("compare.json", text);
  accepts<ConfigError>([&] { is_compare_file(path); });
  return accepts<ConfigError>([&] {
    const CompareFile file = load_compare_file(path, overrides);
    require(file.variants.size() >= 2 && file.baseline < file.variants.size(), "a comparison has a baseline");
    require(!file.seeds.empty() && file.eval_points >= 1, "a comparison has runs");
    require(!file.budget_value || *file.budget_value > 0, "a budget can be spent");
    std::set<std::string> names;
    for (const CompareVariant& variant : file.variants) {
      require(names.insert(variant.name).second, "a variant is called like no other");
      require(variant.name.find('/') == std::string::npos && variant.name[0] != '.', "names are folders");
      accepts<ConfigError>([&] {
        require(variant_config(file, variant, 7).train.steps == 7, "the comparison decides the steps");
      });
    }
  });
}

std::vector<std::string> seeds() {
  const std::string variants = R"("variants": [{"name": "mha"}, {"name": "sas-1", "set": {
 "model.attention": {"kind": "sas", "n_head": 4, "head_dim": 8, "sas": {"n_sim_head": 8, "sim_head_dim": 12}},
 "optim.lr": 0.001}}])";
  return {
      R"({"base": "base.json", )" + variants + R"(, "seeds": [1, 2], "budget": "tokens"})",
      R"({"base": )" + std::string(kBase) + ", " + variants +
          R"(, "seeds": [18446744073709551615], "baseline": "sas-1", "budget": "seconds", "budget_value": 1.5})",
      R"({"base": "base.json", )" + variants +
          R"(, "seeds": [1], "budget": "flops", "budget_value": 1e9, "eval_points": 3}
--set seeds=[7]
--set optim.grad_clip=2)"};
}

}  // namespace of_compare

const Target kCompare = {"compare",
                         of_compare::run,
                         of_compare::seeds,
                         {std::string(of_compare::kSet), "train.steps", "train.seed", "model"}};

}  // namespace saslm::fuzz
