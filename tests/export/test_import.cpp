#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "export/hf_config.h"
#include "export/import.h"
#include "export/import_form.h"
#include "export/weight_files.h"
#include "tests/checkpoint/fixture.h"

namespace saslm {
namespace {

using nlohmann::json;
using test::Folder;

// A folder of a GPT-2 of one layer, of width 2; the values of a tensor count from 100 times its number.
struct Gpt2 {
  json config = {{"model_type", "gpt2"}, {"vocab_size", 5}, {"n_positions", 4},
                 {"n_embd", 2},          {"n_layer", 1},    {"n_head", 1}};
  std::vector<std::vector<float>> values;
  std::vector<ConstNamedTensor> tensors;

  Gpt2() {
    values.reserve(100);
    add("wte.weight", {5, 2}), add("wpe.weight", {4, 2});
    for (const char* norm : {"h.0.ln_1", "h.0.ln_2", "ln_f"})
      for (const char* part : {".weight", ".bias"}) add(std::string(norm) + part, {2});
    linear("h.0.attn.c_attn", 2, 6), linear("h.0.attn.c_proj", 2, 2);
    linear("h.0.mlp.c_fc", 2, 8), linear("h.0.mlp.c_proj", 8, 2);
  }
  void linear(const std::string& name, int64_t in, int64_t out) {
    add(name + ".weight", {in, out}), add(name + ".bias", {out});
  }
  void add(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    values.emplace_back(size_t(count));
    std::iota(values.back().begin(), values.back().end(), 100.0f * float(values.size()));
    tensors.push_back({"transformer." + name, shape, values.back()});
  }
  std::vector<float>& operator[](const std::string& name) {
    for (size_t i = 0; i < tensors.size(); ++i)
      if (tensors[i].name == "transformer." + name) return values[i];
    throw std::out_of_range(name);
  }
  void write(const std::string& folder) const {
    std::ofstream(folder + "/config.json") << config;
    SafetensorsWriter(folder + "/model.safetensors", tensors).write();
  }
};

std::vector<float> tensor(const ImportResult& done, const std::string& name) {
  const SafetensorsReader reader(done.out + "/model.safetensors");
  const TensorInfo* const info = reader.find(name);
  if (!info) return {};
  std::vector<float> values(size_t(info->count));
  reader.read(name, values);
  return values;
}

TEST(Import, LinearsBesideEachOtherAreTakenApartAndTurned) {
  const Folder folder;
  Gpt2 model;
  model.write(folder.path());
  const ImportResult done = import_model({.from = folder.path(), .out = folder / "out"});
  const float w = model["h.0.attn.c_attn.weight"][0], b = model["h.0.attn.c_attn.bias"][0];
  // [in][out] = w + 6 in + out there; ours are [out][in].
  EXPECT_EQ(tensor(done, "layers.0.attn.q.weight"), (std::vector<float>{w, w + 6, w + 1, w + 7}));
  EXPECT_EQ(tensor(done, "layers.0.attn.v.weight"), (std::vector<float>{w + 4, w + 10, w + 5, w + 11}));
  EXPECT_EQ(tensor(done, "layers.0.attn.k.bias"), (std::vector<float>{b + 2, b + 3}));
  EXPECT_EQ(tensor(done, "embed.weight"), model["wte.weight"]);
  EXPECT_TRUE(done.model.bias && done.model.tie_embeddings);
  EXPECT_EQ(done.model.mlp.hidden, 8);
  EXPECT_EQ(done.parameters, 10 + 8 + 12 + 18 + 6 + 24 + 18);
}

TEST(Import, BiasesThatAnExportAddedGoAgainUnlessTheyWereTrained) {
  Gpt2 model;
  model.config["saslm_bias"] = false;
  for (const char* name : {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"})
    for (float& x : model["h.0." + std::string(name) + ".bias"]) x = 0;
  const Folder folder, trained;
  model.write(folder.path());
  EXPECT_FALSE(import_model({.from = folder.path(), .out = folder / "out"}).model.bias);
  model["h.0.mlp.c_proj.bias"][1] = 1e-9f;
  model.write(trained.path());
  EXPECT_TRUE(import_model({.from = trained.path(), .out = trained / "out"}).model.bias);
}

TEST(Import, NothingIsLeftWhereANumberIsNotFinite) {
  Gpt2 model;
  model["h.0.mlp.c_fc.weight"][3] = INFINITY;
  const Folder folder;
  model.write(folder.path());
  EXPECT_THROW(import_model({.from = folder.path(), .out = folder / "out"}), CheckpointError);
  EXPECT_EQ(list_dir(folder.path()), (std::vector<std::string>{"config.json", "model.safetensors"}));
}

HfConfig config(const json& whole) {
  return HfConfig("config.json", whole);
}

TEST(HfConfig, WhatNobodyTookIsRefusedUnlessItChangesNoLogit) {
  HfConfig taken = config({{"hidden_size", 8},
                           {"use_cache", true},
                           {"top_k", 3},
                           {"sliding_window", nullptr},
                           {"new", json::array()}});
  EXPECT_THROW(taken.check_rest(), ConfigError);
  EXPECT_EQ(taken.size("hidden_size"), 8);
  taken.check_rest();
  for (const json& wrong : {json{{"clip_qkv", 8}}, json{{"new", 1}}, json{{"new", false}},
                            json{{"layer_types", {"full_attention", "x"}}}})
    EXPECT_THROW(config(wrong).check_rest(), ConfigError) << wrong;
  config({{"use_sliding_window", false}, {"partial_rotary_factor", 1.0}}).check_rest();
}

TEST(HfConfig, RotaryPositionsAreFoundWhereverTheyAreKept) {
  EXPECT_EQ(config(json::object()).rope_base(), 10000);
  EXPECT_EQ(config({{"rope_theta", 5e5}, {"rope_scaling", nullptr}}).rope_base(), 5e5);
  EXPECT_EQ(config({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}}}}).rope_base(), 7);
  for (const json& wrong : {json{{"type", "linear"}, {"factor", 2.0}},
                            json{{"rope_type", "default"}, {"factor", 2.0}}, json("x")})
    EXPECT_THROW(config({{"rope_scaling", wrong}}).rope_base(), ConfigError) << wrong;
}

TEST(WeightIndex, OnlyNamesOfFilesBesideItAreTaken) {
  const auto parse = [](const std::string& text) { return parse_weight_index(text, "index"); };
  EXPECT_EQ(parse(R"({"weight_map": {"a": "x", "b": "y"}})").at("b"), "y");
  for (const char* wrong : {"", "[]", "{}", R"({"weight_map": {}})", R"({"weight_map": {"a": "../x"}})",
                            R"({"weight_map": {"a": ".."}})", R"({"weight_map": {"a": 1}})",
                            R"({"weight_map": {"a": "x", "a": "y"}})"})
    EXPECT_THROW(parse(wrong), CheckpointError) << wrong;
}

}  // namespace
}  // namespace saslm
