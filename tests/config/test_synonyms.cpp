// What is told to who brings the words of another trainer.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "config/advice.h"
#include "config/config.h"
#include "config/synonyms.h"
#include "core/nearest.h"

namespace saslm {
namespace {

using nlohmann::json;

void collect(const json& schema, const std::string& block, std::set<std::string>& paths) {
  if (!schema.contains("properties")) return;
  for (const auto& property : schema["properties"].items()) {
    const std::string path = block.empty() ? property.key() : block + "." + property.key();
    paths.insert(path);
    collect(property.value(), path, paths);
  }
}

std::string block_of(const std::string& path) {
  return path.find('.') == path.npos ? "" : path.substr(0, path.rfind('.'));
}

TEST(Synonyms, EveryOneLeadsToAKeyThatThereIsOrSaysWhatToDo) {
  std::set<std::string> paths;
  collect(json::parse(config_schema()), "", paths);
  for (const Synonym& s : synonyms()) {
    EXPECT_EQ(snake_case(s.theirs), s.theirs);
    if (*s.ours == '\0')
      EXPECT_STRNE(s.remark, "") << s.theirs;
    else
      EXPECT_TRUE(paths.count(s.ours)) << s.theirs << " -> " << s.ours;
  }
}

TEST(Synonyms, NoneIsAKeyOfTheVeryBlockThatItIsMeantFor) {
  std::set<std::string> paths;
  collect(json::parse(config_schema()), "", paths);
  for (const Synonym& s : synonyms())
    EXPECT_FALSE(paths.count(block_of(s.ours) + "." + s.theirs)) << s.theirs << " is a word of ours there";
}

TEST(Synonyms, TheBlockDecides) {
  const auto ours = [](const char* word, const char* block) {
    return std::string(synonym_of(word, block)->ours);
  };
  EXPECT_EQ(ours("dim", "model"), "model.d_model");
  EXPECT_EQ(ours("dim", "model.attention"), "model.attention.head_dim");
  EXPECT_EQ(ours("dim", "model.mlp"), "model.mlp.hidden");
  EXPECT_EQ(ours("hidden_size", ""), "model.d_model");
  EXPECT_EQ(ours("interval", "checkpoint"), "checkpoint.every_steps");
  EXPECT_EQ(ours("learningRate", "train"), "optim.lr");
  EXPECT_FALSE(synonym_of("no_such_word", "model"));
}

TEST(Advice, NamesTheKeyOrItsPlaceOrNothing) {
  const std::vector<std::string> optim = {"kind", "lr", "betas"}, train = {"steps", "seq_len", "micro_batch"};
  const auto says = [](const std::string& text, const std::string& beginning) {
    EXPECT_TRUE(text.starts_with(beginning)) << text;
  };
  says(advice_on_key("learning_rate", "optim", optim), "; did you mean lr? Valid here: kind, lr, betas");
  says(advice_on_key("learning_rate", "train", train), "; did you mean optim.lr?");
  says(advice_on_key("warmup_ratio", "", {"model"}),
       "; did you mean optim.schedule.warmup_steps (a number of steps, not a fraction)?");
  says(advice_on_key("batch_size", "train", train), "; did you mean micro_batch (or train.global_batch");
  says(advice_on_key("n_layer", "train", train), "; did you mean model.n_layer?");
  says(advice_on_key("n_layr", "train", train), "; did you mean model.n_layer?");
  says(advice_on_key("dropout", "train", train), ": there is no dropout; remove it");
  says(advice_on_key("out_dir", "", {"model"}), ": use the option --run-dir");
  says(advice_on_key("qqqq", "train", train), ". Valid here: steps, seq_len, micro_batch");
}

TEST(Advice, ConfigKeysAreFoundByTheirLastWordAlone) {
  EXPECT_EQ(config_key_of("lr"), "optim.lr");
  EXPECT_EQ(config_key_of("learning-rate"), "optim.lr");
  EXPECT_EQ(config_key_of("n-layer"), "model.n_layer");
  EXPECT_EQ(config_key_of("dropout"), "");
  EXPECT_EQ(config_key_of("kind"), "");  // of which block?
}

}  // namespace
}  // namespace saslm
