// Configs and models that are not saslm's: told by what they are.
#include <filesystem>
#include <fstream>

#include "config/foreign_model.h"
#include "config/json_dialect.h"
#include "core/error.h"
#include "gtest/gtest.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

using test::OwnFolder;

TEST(JsonDialect, NamesWhatIsNotPlainAndItsLine) {
  const std::string advice = "; saslm reads plain JSON: remove ";
  EXPECT_EQ(dialect_of("{\n\n // a\n\"b\": 1}"), "this is JSON with comments (line 3)" + advice + "them");
  EXPECT_EQ(dialect_of("{\"b\": [1, 2 ,\n ] }"),
            "this is JSON with a comma before a closing bracket (line 1)" + advice + "it");
  EXPECT_EQ(
      dialect_of("{\"b\": 1, /* a\n\n*/ } # c"),
      "this is JSON with comments (line 1) and a comma before a closing bracket (line 1)" + advice + "them");
  EXPECT_EQ(dialect_of("{\"a\": \"x // \\\" y\" // z\n}"),
            "this is JSON with comments (line 1)" + advice + "them");
}

TEST(JsonDialect, SaysNothingOfWhatIsWrongInAnotherWay) {
  for (const char* text :
       {"", "{", "{\"a\": // x\n}", "{\"a\": 1,, }", "model: {}  # yaml", "[1 2] // x", "\"// \""})
    EXPECT_EQ(dialect_of(text), "") << text;
}

TEST(ForeignModel, IsToldByItsFolder) {
  OwnFolder dir;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(dir / name) << text;
  };
  EXPECT_EQ(foreign_model_at(dir.path()), "");
  write("pytorch_model.bin", "x");
  EXPECT_EQ(foreign_model_at(dir.path()), "a Hugging Face model without its config.json");
  write("config.json", R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})");
  EXPECT_EQ(foreign_model_at(dir.path()), "a Hugging Face model (GPT2LMHeadModel)");
  EXPECT_EQ(foreign_model_at(dir / "pytorch_model.bin"), "a file of a Hugging Face model (GPT2LMHeadModel)");
  EXPECT_THROW(refuse_foreign_model(dir.path()), CheckpointError);
  write("config.json", R"({"model_type": "\u001b[31m"})");
  EXPECT_EQ(foreign_model_at(dir.path()), "a Hugging Face model (??31m)");
  write("config.json", R"({"model": {}, "architectures": ["SaslmForCausalLM"]})");  // ours, exported
  EXPECT_EQ(foreign_model_at(dir.path()), "");
  write("manifest.json", "{}");
  EXPECT_EQ(foreign_model_at(dir.path()), "");
  EXPECT_EQ(foreign_model_at(dir / "none"), "");
}

}  // namespace
}  // namespace saslm
