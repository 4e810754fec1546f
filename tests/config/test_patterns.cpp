// The folder of a config is no part of the patterns in it.
#include "tests/config/config_files.h"

namespace saslm {
namespace {

TEST(ConfigPatterns, TheFolderStandsForItselfAlone) {
  const test::OwnFolder dir;
  const auto folder = std::filesystem::path(dir.path()) / "run* [v2]" / "a\\b";
  std::filesystem::create_directories(folder);
  const std::string path = folder / "x.json";
  std::ofstream(path) << patched(
      R"({"data": {"train": ["train_*.bin", "../up_?.bin", "/abs*/x.bin"], "tokenizer": "t [1]/tokenizer.json"}})");
  const Config config = load_config(path);
  const std::string up = dir.path() + R"(/run\* \[v2])", here = up + R"(/a\\b)";
  EXPECT_EQ(config.data.train,
            (std::vector<std::string>{here + "/train_*.bin", up + "/up_?.bin", "/abs*/x.bin"}));
  EXPECT_EQ(config.data.tokenizer, folder.string() + "/t [1]/tokenizer.json");

  std::filesystem::create_directories(dir / "run");
  std::ofstream(dir / "run/config.json") << to_json(config);  // as a run keeps it, and verify reads it
  EXPECT_EQ(load_config(dir / "run/config.json").data.train, config.data.train);
}

}  // namespace
}  // namespace saslm
