#include <gtest/gtest.h>

#include <filesystem>

#include "config/config.h"
#include "core/file.h"
#include "tests/own_folder.h"
#include "train/saved_model.h"

namespace saslm {
namespace {

// The folder's config.json may be anybody's: beyond the model block it is a hint.
TEST(SavedModel, AListWhereABlockShouldBeIsNoHint) {
  const test::OwnFolder own;
  const std::string folder = own.path();
  ModelConfig model;
  model.vocab_size = 256, model.n_layer = 1, model.d_model = 8, model.max_seq_len = 16, model.mlp.hidden = 8;
  model.attention.n_head = 1, model.attention.head_dim = 8;
  atomic_write_file(folder + "/model.safetensors", "");
  atomic_write_file(folder + "/config.json",
                    R"({"train": [{"seq_len": 4}], "data": ["bytes"], "model": )" + to_json(model) + "}");
  EXPECT_EQ(find_saved_model(folder).seq_len, 16);
  EXPECT_EQ(find_saved_model(folder).tokenizer, "");
}

}  // namespace
}  // namespace saslm
