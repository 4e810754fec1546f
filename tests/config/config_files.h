// Config files for the tests: a valid one to change in one place, written to a folder that goes away.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "config/config.h"
#include "core/error.h"
#include "tests/own_folder.h"

namespace saslm {

class ConfigFile : public testing::Test {
 protected:
  std::string path() const { return folder_ / "x.json"; }
  void write(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }
  Config load(const std::string& text) const {
    write(text);
    return load_config(path());
  }

  const test::OwnFolder own_;
  const std::filesystem::path folder_ = own_.path();
};

// The message of the ConfigError that `action` must end in.
template <class Action>
std::string refusal_of(Action action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

inline void expect_contains(const std::string& text, const std::string& phrase) {
  EXPECT_NE(text.find(phrase), std::string::npos) << text << "\nlacks: " << phrase;
}

// The least that can be said.
inline const std::string kMinimal = R"({
  "model": { "vocab_size": 256, "n_layer": 2, "d_model": 32, "max_seq_len": 16,
             "attention": { "kind": "mha", "n_head": 12, "head_dim": 8 }, "mlp": { "hidden": 64 } },
  "data": { "train": "a.bin" } })";

// kMinimal with a JSON merge patch (RFC 7386; null removes) laid over it.
inline std::string patched(const std::string& patch) {
  nlohmann::json root = nlohmann::json::parse(kMinimal);
  root.merge_patch(nlohmann::json::parse(patch));
  return root.dump();
}

}  // namespace saslm
