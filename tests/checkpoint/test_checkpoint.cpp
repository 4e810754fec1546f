#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "tests/checkpoint/fixture.h"

namespace saslm {
namespace {

using namespace test;

constexpr const char* kFiles[] = {"model.safetensors", "optimizer.safetensors", "state.json", "config.json",
                                  "manifest.json"};
const std::map<std::string, std::string> kCarried = {{"tokenizer.json", R"({"model": {}})"}, {"zero", ""}};

struct Checkpoints : testing::Test {
  // Path and reason of everything that find_newest_valid passed over.
  std::vector<std::pair<std::string, std::string>> skipped;
  std::optional<Checkpoint> newest() {
    skipped.clear();
    return find_newest_valid(
        dir, [&](const std::string& path, const std::string& why) { skipped.emplace_back(path, why); });
  }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> result;
    for (const CheckpointEntry& entry : list_checkpoints(dir)) result.push_back(entry.step);
    return result;
  }
  static TinyModel loaded(const Checkpoint& checkpoint) {
    TinyModel tiny(0);
    load_checkpoint(checkpoint, tiny.model(), tiny.optimizer());
    return tiny;
  }

  Folder folder;
  std::string dir = folder / "run/checkpoints";  // does not exist yet
};

TEST_F(Checkpoints, WhatWasSavedIsLoadedBitForBit) {
  const std::string path = save_tiny(dir, 1000, 7);
  EXPECT_EQ(path, dir + "/step_00001000");
  EXPECT_EQ(list_dir(dir), std::vector<std::string>{"step_00001000"});
  const Checkpoint checkpoint = verify_checkpoint(path);
  EXPECT_EQ(checkpoint.step(), 1000);
  EXPECT_EQ(checkpoint.state_json(), R"({"step":1000})");
  EXPECT_EQ(checkpoint.config_json(), "{}");
  EXPECT_EQ(loaded(checkpoint), TinyModel(7));
}

TEST_F(Checkpoints, SizeIsPredictedFromShapesAlone) {
  const std::string path = save_tiny(dir, 1, 7);
  int64_t bytes = 0;
  for (const char* file : kFiles) bytes += int64_t(read_file(path + "/" + file).size());
  const std::vector<ConstNamedTensor> model = {{"embed.weight", {3, 4}, {}}, {"norm.weight", {4}, {}}},
                                      optimizer = {{"m.all", {16}, {}}};
  const int64_t predicted = predict_checkpoint_bytes(model, optimizer);
  EXPECT_GE(predicted, bytes);
  EXPECT_LE(predicted, bytes + (64 << 10));
}

TEST_F(Checkpoints, EveryFlippedBitOfEveryFileIsDetected) {
  const std::string path = save_tiny(dir, 1, 7);
  size_t flipped = 0;
  for (const char* name : kFiles) {
    const std::string file = path + "/" + name, whole = read_file(file);
    for (size_t bit = 0; bit < whole.size() * 8; ++bit, ++flipped) {
      write_file(file, with_bit_flipped(whole, bit));
      ASSERT_THROW(verify_checkpoint(path), CheckpointError) << name << " bit " << bit;
    }
    write_file(file, whole);
  }
  RecordProperty("flipped_bits", std::to_string(flipped));
  EXPECT_NO_THROW(verify_checkpoint(path));
}

// The model's own file and the optimizer's, of which nearly all is payload.
TEST_F(Checkpoints, EveryFlippedBitOfTenThousandOfPayloadIsDetected) {
  std::vector<float> weights(200), moments(150);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 1.0f / float(i + 1);
  for (size_t i = 0; i < moments.size(); ++i) moments[i] = -0.1f * float(i);
  const std::vector<ConstNamedTensor> model = {{"w", {10, 20}, weights}},
                                      optimizer = {{"m.w", {150}, moments}};
  const std::string path = save_checkpoint(dir, {1, model, optimizer, "{}", "{}"}).path;
  size_t flipped = 0;
  for (const auto& [name, bytes] : {std::pair{"model.safetensors", 4 * weights.size()},
                                    std::pair{"optimizer.safetensors", 4 * moments.size()}}) {
    const std::string file = path + "/" + name, whole = read_file(file);
    for (size_t bit = 8 * (whole.size() - bytes); bit < 8 * whole.size(); ++bit, ++flipped) {
      write_file(file, with_bit_flipped(whole, bit));
      ASSERT_THROW(verify_checkpoint(path), CheckpointError) << name << " bit " << bit;
    }
    write_file(file, whole);
  }
  RecordProperty("flipped_bits", std::to_string(flipped));
  EXPECT_GE(flipped, 10'000u);
  EXPECT_NO_THROW(verify_checkpoint(path));
}

TEST_F(Checkpoints, EveryTruncationOfEveryFileIsDetected) {
  const std::string path = save_tiny(dir, 1, 7);
  size_t cut = 0;
  for (const char* name : kFiles) {
    const std::string file = path + "/" + name, whole = read_file(file);
    // The manifest's last byte is its line end, without which it says the same.
    const size_t lengths = whole.size() - (std::string(name) == "manifest.json" ? 1 : 0);
    for (size_t length = 0; length < lengths; ++length, ++cut) {
      write_file(file, whole.substr(0, length));
      ASSERT_THROW(verify_checkpoint(path), CheckpointError) << name << " cut to " << length;
    }
    write_file(file, whole);
  }
  RecordProperty("lengths", std::to_string(cut));
}

TEST_F(Checkpoints, WhatIsCarriedComesBackAndCounts) {
  const std::string path = save_tiny(dir, 1, 7, kCarried);
  const Checkpoint checkpoint = verify_checkpoint(path);
  EXPECT_EQ(checkpoint.carried(), kCarried);
  EXPECT_EQ(loaded(checkpoint), TinyModel(7));
  int64_t bytes = 0;
  for (const std::string& name : list_dir(path)) bytes += int64_t(read_file(path + "/" + name).size());
  EXPECT_EQ(checkpoint.bytes(), bytes);
  EXPECT_EQ(state_hash(checkpoint.files()), state_hash(verify_checkpoint(save_tiny(dir, 2, 7)).files()));
  EXPECT_TRUE(verify_checkpoint(dir + "/step_00000002").carried().empty());
}

TEST_F(Checkpoints, WhatIsCarriedMayBeAsLargeAsATokenizersFile) {
  const std::map<std::string, std::string> large = {{"tokenizer.json", std::string(size_t{17} << 20, ' ')}};
  EXPECT_EQ(verify_checkpoint(save_tiny(dir, 1, 7, large)).carried(), large);
}

TEST_F(Checkpoints, EveryFlippedBitAndTruncationOfWhatIsCarriedIsDetected) {
  const std::string path = save_tiny(dir, 1, 7, kCarried);
  for (const char* name : {"tokenizer.json", "manifest.json"}) {
    const std::string file = path + "/" + name, whole = read_file(file);
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
      write_file(file, with_bit_flipped(whole, bit));
      ASSERT_THROW(verify_checkpoint(path), CheckpointError) << name << " bit " << bit;
    }
    for (size_t length = 0; length + 1 < whole.size(); ++length) {
      write_file(file, whole.substr(0, length));
      ASSERT_THROW(verify_checkpoint(path), CheckpointError) << name << " cut to " << length;
    }
    write_file(file, whole);
  }
  std::filesystem::remove(path + "/zero");
  EXPECT_CONTAINS(message_of<CheckpointError>([&] { verify_checkpoint(path); }), "zero is missing");
}

TEST_F(Checkpoints, WhatIsCarriedHasAPlainNameOfItsOwn) {
  for (const char* name :
       {"", ".", "..", ".hidden", "a/b", "../x", "a b", "a\n", "state.json", "manifest.json"})
    EXPECT_FALSE(may_be_carried(name)) << name;
  for (const char* name : {"tokenizer.json", "vocab.bpe", "a-b_c.1"})
    EXPECT_TRUE(may_be_carried(name)) << name;
  const std::string path = save_tiny(dir, 1, 7, kCarried) + "/manifest.json";
  for (const char* name : {"../tokenizer.json", "state.json", "zzz"}) {  // the last: behind "zero"
    Manifest manifest = parse_manifest(read_file(path), path);
    manifest.files[kConfig + 1].name = name;
    EXPECT_CONTAINS(message_of<CheckpointError>([&] { parse_manifest(manifest_to_json(manifest), path); }),
                    "plain names");
  }
}

TEST_F(Checkpoints, DamageNamesFileAndTensor) {
  const std::string path = save_tiny(dir, 1, 7), file = path + "/model.safetensors";
  std::string bytes = read_file(file);
  bytes[bytes.size() - 1] = char(bytes.back() ^ 1);  // in norm.weight, which is last
  write_file(file, bytes);
  const std::string message = message_of<CheckpointError>([&] { verify_checkpoint(path); });
  EXPECT_CONTAINS(message, file);
  EXPECT_CONTAINS(message, "'norm.weight'");
}

TEST_F(Checkpoints, NewestThatVerifiesIsFoundAndTheOthersAreNamed) {
  for (const int64_t step : {1, 2, 3, 4, 5}) save_tiny(dir, step, float(step));
  std::filesystem::remove(dir + "/step_00000005/manifest.json");
  write_file(dir + "/step_00000004/manifest.json", "{\"format\":");
  std::filesystem::remove(dir + "/step_00000003/optimizer.safetensors");
  std::filesystem::create_directories(dir + "/step_00000006");
  std::filesystem::rename(dir + "/step_00000001", dir + "/step_00000007");  // says it is step 1
  const auto found = newest();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->step(), 2);
  EXPECT_EQ(loaded(*found), TinyModel(2));
  ASSERT_EQ(skipped.size(), 5u);
  EXPECT_EQ(skipped[0].first, dir + "/step_00000007");
  EXPECT_CONTAINS(skipped[0].second, "step 1");
  EXPECT_CONTAINS(skipped[1].second, "step_00000006/manifest.json is missing");
  EXPECT_CONTAINS(skipped[2].second, "step_00000005/manifest.json is missing");
  EXPECT_CONTAINS(skipped[3].second, "not valid JSON");
  EXPECT_CONTAINS(skipped[4].second, "optimizer.safetensors is missing");
}

TEST_F(Checkpoints, WithoutAnyNothingIsFound) {
  EXPECT_FALSE(newest());
  EXPECT_TRUE(steps().empty());
  make_dirs(dir + "/step_00000001");
  EXPECT_FALSE(newest());
  EXPECT_EQ(skipped.size(), 1u);
}

// All that a save leaves behind when it is killed after k of its five files.
TEST_F(Checkpoints, UnfinishedSavesAreNeitherFoundNorInTheWay) {
  save_tiny(dir, 1, 1);
  const std::string next = save_tiny(folder / "elsewhere", 2, 2);
  for (size_t k = 0; k <= std::size(kFiles); ++k) {
    const std::string temp = dir + "/.tmp_step_00000002_" + std::to_string(k);
    make_dirs(temp);
    for (size_t i = 0; i < k; ++i) std::filesystem::copy(next + "/" + kFiles[i], temp + "/" + kFiles[i]);
  }
  EXPECT_EQ(newest()->step(), 1);
  EXPECT_TRUE(skipped.empty());
  EXPECT_EQ(remove_stale(dir).size(), std::size(kFiles) + 1);
  EXPECT_EQ(list_dir(dir), std::vector<std::string>{"step_00000001"});
  save_tiny(dir, 2, 2);
  EXPECT_EQ(newest()->step(), 2);
}

TEST_F(Checkpoints, OneOfTheSameStepIsReplacedWhetherValidOrNot) {
  save_tiny(dir, 5, 1);
  save_tiny(dir, 5, 2);
  EXPECT_EQ(loaded(*newest()), TinyModel(2));
  write_file(dir + "/step_00000005/manifest.json", "");
  save_tiny(dir, 5, 3);
  EXPECT_EQ(loaded(*newest()), TinyModel(3));
  EXPECT_EQ(list_dir(dir), std::vector<std::string>{"step_00000005"});
}

TEST_F(Checkpoints, OnlyCanonicalNamesCount) {
  for (const char* name : {"step_00000001", "step_1", "step_0000000a", "step_-0000001", "step_123456789",
                           "step_000000001", "step_", "other", ".tmp_step_00000009_1"}) {
    make_dirs(dir + "/" + name);
  }
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 123456789}));
}

TEST_F(Checkpoints, AnotherModelsIsRefusedByTensorAndNothingIsTouched) {
  const Checkpoint checkpoint = verify_checkpoint(save_tiny(dir, 1, 7));
  TinyModel tiny(0);
  const auto refusal = [&](const std::vector<NamedTensor>& model, const std::vector<NamedTensor>& optimizer) {
    const std::string message =
        message_of<CheckpointError>([&] { load_checkpoint(checkpoint, model, optimizer); });
    EXPECT_CONTAINS(message, "another model");
    return message;
  };
  auto model = tiny.model(), optimizer = tiny.optimizer();
  model[0].shape = {4, 3};
  EXPECT_CONTAINS(refusal(model, optimizer), "'embed.weight' wanted shape [4, 3], got [3, 4]");
  model = tiny.model();
  model[1].name = "norm.bias";
  EXPECT_CONTAINS(refusal(model, optimizer), "'norm.bias' is wanted, of shape [4], and missing");
  model = tiny.model();
  model.pop_back();
  EXPECT_CONTAINS(refusal(model, optimizer), "'norm.weight' of shape [4] is there, and not wanted");
  optimizer[0].shape = {4, 4};
  EXPECT_CONTAINS(refusal(tiny.model(), optimizer), "'m.all' wanted shape [4, 4], got [16]");
  EXPECT_EQ(tiny, TinyModel(0));
}

TEST_F(Checkpoints, ChangeBetweenVerificationAndReadingIsAnError) {
  const Checkpoint checkpoint = verify_checkpoint(save_tiny(dir, 1, 7));
  const std::string file = checkpoint.path() + "/model.safetensors";
  std::string bytes = read_file(file);
  bytes.back() = char(bytes.back() ^ 1);
  write_file(file, bytes);
  TinyModel tiny(0);
  EXPECT_THROW(load_checkpoint(checkpoint, tiny.model(), tiny.optimizer()), IoError);
}

TEST_F(Checkpoints, WeightsAloneLoadFromACheckpointAndFromABareFolder) {
  const std::string path = save_tiny(dir, 1, 7), bare = folder / "bare";
  TinyModel from_checkpoint(0), from_bare(0);
  load_weights(path, from_checkpoint.model());
  EXPECT_EQ(from_checkpoint.embed, TinyModel(7).embed);
  EXPECT_EQ(from_checkpoint.norm, TinyModel(7).norm);

  make_dirs(bare);
  std::filesystem::copy(path + "/model.safetensors", bare);
  EXPECT_CONTAINS(message_of<CheckpointError>([&] { load_weights(bare, from_bare.model()); }), "config.json");
  std::filesystem::copy(path + "/config.json", bare);
  load_weights(bare, from_bare.model());
  EXPECT_EQ(from_bare, from_checkpoint);
}

TEST_F(Checkpoints, WeightsOfADamagedCheckpointAreRefused) {
  const std::string path = save_tiny(dir, 1, 7);
  TinyModel tiny(0);
  write_file(path + "/optimizer.safetensors", "");
  EXPECT_THROW(load_weights(path, tiny.model()), CheckpointError);
  std::filesystem::remove(path + "/manifest.json");  // must not pass for a bare folder
  EXPECT_CONTAINS(message_of<CheckpointError>([&] { load_weights(path, tiny.model()); }), "no manifest.json");
  EXPECT_EQ(tiny, TinyModel(0));
}

TEST_F(Checkpoints, PruneKeepsTheLastTheRoundAndTheNewestValid) {
  for (const int64_t step : {0, 10, 20, 25, 30, 40, 50}) save_tiny(dir, step, float(step));
  EXPECT_TRUE(prune_checkpoints(dir, {.keep_last = 7}).empty());
  EXPECT_EQ(
      prune_checkpoints(dir, {.keep_last = 2, .keep_every = 20}),
      (std::vector<std::string>{dir + "/step_00000010", dir + "/step_00000025", dir + "/step_00000030"}));
  EXPECT_EQ(steps(), (std::vector<int64_t>{0, 20, 40, 50}));
  write_file(dir + "/step_00000050/manifest.json", "");
  write_file(dir + "/step_00000040/manifest.json", "");
  prune_checkpoints(dir, {.keep_last = 2});
  EXPECT_EQ(steps(), (std::vector<int64_t>{20, 40, 50}));
  prune_checkpoints(dir, {.keep_last = 0});
  EXPECT_EQ(steps(), (std::vector<int64_t>{20}));
  write_file(dir + "/step_00000020/manifest.json", "");
  prune_checkpoints(dir, {.keep_last = 0});
  EXPECT_EQ(steps(), (std::vector<int64_t>{20}));  // none is valid: nothing is deleted
}

TEST_F(Checkpoints, PruneKeepsWhatItIsAskedToAndTellsOfTheOthersFirst) {
  for (const int64_t step : {1, 2, 3, 4}) save_tiny(dir, step, float(step));
  std::vector<int64_t> told;
  prune_checkpoints(dir, {.keep_last = 1,
                          .keep = [](const CheckpointEntry& entry) { return entry.step == 2; },
                          .removing =
                              [&](const CheckpointEntry& entry) {
                                EXPECT_TRUE(path_exists(entry.path));
                                told.push_back(entry.step);
                              }});
  EXPECT_EQ(told, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(steps(), (std::vector<int64_t>{2, 4}));
}

}  // namespace
}  // namespace saslm
