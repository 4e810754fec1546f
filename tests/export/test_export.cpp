#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "export/export.h"
#include "export/form.h"
#include "export/tokenizer_files.h"
#include "tests/checkpoint/fixture.h"

namespace saslm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Folder;

// Values that tell where they came from: the first of a tensor is 100 times its number, the next one more.
struct Model {
  ModelConfig config;
  std::vector<std::vector<float>> values;
  std::vector<ConstNamedTensor> weights;

  void add(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    values.emplace_back(size_t(count));
    std::iota(values.back().begin(), values.back().end(), 100.0f * float(values.size()));
    weights.push_back({name, shape, values.back()});
  }
  float first_of(const std::string& name) const {
    for (const ConstNamedTensor& tensor : weights)
      if (tensor.name == name) return tensor.data[0];
    return NAN;
  }
};

ModelConfig config_of(AttentionKind kind) {
  ModelConfig config{.vocab_size = 7, .n_layer = 1, .d_model = 4, .max_seq_len = 5};
  config.attention = {.kind = kind, .n_head = 2, .head_dim = 2, .projection = GqaConfig{2}};
  config.mlp = {MlpKind::swiglu, 3};
  return config;
}

// What such a model declares, in that order.
Model model_of(ModelConfig config) {
  Model m{.config = config};
  const int64_t d = config.d_model, wide = config.attention.n_head * config.attention.head_dim;
  const auto norm = [&](const std::string& name) {
    m.add(name + ".weight", {d});
    if (config.norm.kind == NormKind::layernorm) m.add(name + ".bias", {d});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    m.add(name + ".weight", {out, in});
    if (config.bias) m.add(name + ".bias", {out});
  };
  m.values.reserve(100);
  m.add("embed.weight", {config.vocab_size, d});
  if (config.attention.position == PositionKind::learned) m.add("pos_embed.weight", {config.max_seq_len, d});
  norm("layers.0.attn_norm");
  for (const char* name : {"q", "k", "v"}) linear(std::string("layers.0.attn.") + name, wide, d);
  linear("layers.0.attn.o", d, wide);
  norm("layers.0.mlp_norm");
  if (config.mlp.kind == MlpKind::swiglu) linear("layers.0.mlp.gate", config.mlp.hidden, d);
  linear("layers.0.mlp.up", config.mlp.hidden, d);
  linear("layers.0.mlp.down", d, config.mlp.hidden);
  norm("final_norm");
  if (!config.tie_embeddings) m.add("head.weight", {config.vocab_size, d});
  return m;
}

ModelConfig gpt2_config() {
  ModelConfig config = config_of(AttentionKind::mha);
  config.attention.position = PositionKind::learned;
  config.norm.kind = NormKind::layernorm;
  config.mlp.kind = MlpKind::gelu;
  return config;
}

const ConstNamedTensor& tensor_of(const Form& form, const std::string& name) {
  for (const ConstNamedTensor& tensor : form.tensors)
    if (tensor.name == name) return tensor;
  throw Error("no tensor " + name);
}

json read_json(const std::string& path) {
  return json::parse(read_file(path));
}

TEST(Llama, RenamesEveryTensorAndChangesNone) {
  ModelConfig config = config_of(AttentionKind::mha);
  config.tie_embeddings = false, config.bias = true;
  const Model m = model_of(config);
  const auto form = llama_form(m.config, m.weights);
  ASSERT_TRUE(form);
  EXPECT_EQ(form->architecture, "LlamaForCausalLM");
  ASSERT_EQ(form->tensors.size(), m.weights.size());
  for (size_t i = 0; i < m.weights.size(); ++i) {
    EXPECT_EQ(form->tensors[i].data.data(), m.weights[i].data.data());
    EXPECT_EQ(form->tensors[i].shape, m.weights[i].shape);
  }
  const std::vector<std::pair<std::string, std::string>> names = {
      {"embed.weight", "model.embed_tokens.weight"},
      {"layers.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"layers.0.attn.q.weight", "model.layers.0.self_attn.q_proj.weight"},
      {"layers.0.attn.o.bias", "model.layers.0.self_attn.o_proj.bias"},
      {"layers.0.mlp_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
      {"layers.0.mlp.gate.weight", "model.layers.0.mlp.gate_proj.weight"},
      {"final_norm.weight", "model.norm.weight"},
      {"head.weight", "lm_head.weight"}};
  for (const auto& [ours, theirs] : names) EXPECT_EQ(tensor_of(*form, theirs).data[0], m.first_of(ours));
}

TEST(Llama, ConfigSaysAllThatIsNotItsDefault) {
  ModelConfig config = config_of(AttentionKind::gqa);
  config.attention = {
      .kind = AttentionKind::gqa, .n_head = 4, .head_dim = 6, .rope_base = 500, .projection = GqaConfig{2}};
  config.bias = true, config.norm.eps = 1e-6, config.tie_embeddings = false;
  const json c = llama_form(config, {})->config;
  const json wanted = {{"model_type", "llama"},    {"vocab_size", 7},
                       {"hidden_size", 4},         {"intermediate_size", 3},
                       {"num_hidden_layers", 1},   {"num_attention_heads", 4},
                       {"num_key_value_heads", 2}, {"head_dim", 6},
                       {"hidden_act", "silu"},     {"max_position_embeddings", 5},
                       {"rms_norm_eps", 1e-6},     {"rope_theta", 500.0},
                       {"attention_bias", true},   {"attention_dropout", 0.0},
                       {"mlp_bias", true},         {"tie_word_embeddings", false}};
  EXPECT_EQ(c, wanted);
}

TEST(Llama, IsNotChosenWhereItWouldComputeAnythingElse) {
  const auto refuses = [](auto change) {
    ModelConfig config = config_of(AttentionKind::gqa);
    EXPECT_TRUE(llama_form(config, {}));
    change(config);
    return !llama_form(config, {});
  };
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.position = PositionKind::none; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.position = PositionKind::learned; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.norm.kind = NormKind::layernorm; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.mlp.kind = MlpKind::gelu; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.mlp.kind = MlpKind::relu2; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.sas = SasConfig{}; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.moh = MohConfig{}; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.window = WindowConfig{4}; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.logit_softcap = 30; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.n_head = 3; }));  // which does not divide d_model
  for (const AttentionKind kind :
       {AttentionKind::sas, AttentionKind::mla, AttentionKind::tpa, AttentionKind::mhe, AttentionKind::moh})
    EXPECT_TRUE(refuses([&](ModelConfig& c) { c.attention.kind = kind; }));
}

TEST(Gpt2, LinearsAreTransposedAndQkvAreOne) {
  ModelConfig config = gpt2_config();
  config.bias = true;
  const Model m = model_of(config);
  const auto form = gpt2_form(m.config, m.weights);
  ASSERT_TRUE(form);
  EXPECT_FALSE(llama_form(m.config, m.weights));
  const auto& qkv = tensor_of(*form, "transformer.h.0.attn.c_attn.weight");
  EXPECT_EQ(qkv.shape, (std::vector<int64_t>{4, 12}));
  const auto& qkv_bias = tensor_of(*form, "transformer.h.0.attn.c_attn.bias");
  EXPECT_EQ(qkv_bias.shape, std::vector<int64_t>{12});
  const std::array<std::string, 3> names = {"q", "k", "v"};
  for (size_t part = 0; part < 3; ++part)
    for (size_t out = 0; out < 4; ++out) {
      const std::string ours = "layers.0.attn." + names[part];
      EXPECT_EQ(qkv_bias.data[4 * part + out], m.first_of(ours + ".bias") + float(out));
      for (size_t in = 0; in < 4; ++in)
        EXPECT_EQ(qkv.data[12 * in + 4 * part + out], m.first_of(ours + ".weight") + float(4 * out + in));
    }
  const auto& down = tensor_of(*form, "transformer.h.0.mlp.c_proj.weight");
  EXPECT_EQ(down.shape, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(down.data[4 * 2 + 1], m.first_of("layers.0.mlp.down.weight") + 3 * 1 + 2);
  EXPECT_EQ(tensor_of(*form, "transformer.h.0.ln_2.bias").data[0], m.first_of("layers.0.mlp_norm.bias"));
  EXPECT_EQ(tensor_of(*form, "transformer.wpe.weight").data[0], m.first_of("pos_embed.weight"));
  EXPECT_EQ(form->tensors.size(), 2u + 12u + 2u);
  EXPECT_EQ(form->config.at("n_inner"), 3);
  EXPECT_EQ(form->config.at("n_positions"), 5);
  EXPECT_EQ(form->config.at("activation_function"), "gelu_new");
}

TEST(Gpt2, WithoutBiasesZerosAreWrittenAndAnUntiedHeadIsTold) {
  ModelConfig config = gpt2_config();
  config.tie_embeddings = false;
  const Model m = model_of(config);
  const auto form = gpt2_form(m.config, m.weights);
  ASSERT_TRUE(form);
  for (const char* name : {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"})
    for (const float b : tensor_of(*form, std::string("transformer.h.0.") + name + ".bias").data)
      EXPECT_EQ(b, 0);
  EXPECT_EQ(tensor_of(*form, "lm_head.weight").data[0], m.first_of("head.weight"));
  EXPECT_EQ(form->config.at("tie_word_embeddings"), false);
}

TEST(Gpt2, IsNotChosenWhereItWouldComputeAnythingElse) {
  const auto refuses = [](auto change) {
    ModelConfig config = gpt2_config();
    change(config);
    const Model m = model_of(config);
    return !gpt2_form(m.config, m.weights);
  };
  EXPECT_FALSE(refuses([](ModelConfig&) {}));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.position = PositionKind::none; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.norm.kind = NormKind::rmsnorm; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.mlp.kind = MlpKind::relu2; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.head_dim = 4; }));
  EXPECT_TRUE(refuses([](ModelConfig& c) { c.attention.kind = AttentionKind::gqa; }));
}

TEST(Export, OurOwnClassGetsItsSourceAndTheModelBlock) {
  ModelConfig config = config_of(AttentionKind::mha);
  config.mlp.kind = MlpKind::relu2;
  const Model m = model_of(config);
  const Folder folder;
  const std::string out = folder / "deep/out";
  const ExportResult done = export_model({.model = m.config, .weights = m.weights, .out = out});
  EXPECT_EQ(done.architecture, "SaslmForCausalLM");
  EXPECT_EQ(done.tensors, int64_t(m.weights.size()));
  EXPECT_NE(read_file(out + "/modeling_saslm.py").find("class SaslmForCausalLM("), std::string::npos);
  const json c = read_json(out + "/config.json");
  EXPECT_EQ(c.at("model"), json::parse(to_json(config)));
  EXPECT_EQ(c.at("auto_map").at("AutoModelForCausalLM"), "modeling_saslm.SaslmForCausalLM");
  EXPECT_TRUE(c.at("eos_token_id").is_null());
  EXPECT_TRUE(read_json(out + "/generation_config.json").at("eos_token_id").is_null());
  EXPECT_EQ(load_model_config(out + "/config.json"), config);
  const SafetensorsReader reader(out + "/model.safetensors");
  EXPECT_EQ(reader.metadata().at("format"), "pt");
  std::vector<float> q(16);
  reader.read("layers.0.attn.q.weight", q);
  EXPECT_EQ(q[0], m.first_of("layers.0.attn.q.weight"));
}

TEST(Export, Bf16RoundsToNearestTiesToEven) {
  ModelConfig config = config_of(AttentionKind::mha);
  Model m = model_of(config);
  // 8 bits of mantissa: between 1 and 1 + 2^-7 lies the tie 1 + 2^-8.
  const std::array<float, 7> given = {1.0f,         1 + 0x1p-8f, 1 + 0x1.01p-8f, 1 + 0x3p-8f,
                                      -1 - 0x1p-8f, 0x1.fep127f, 3e-39f};
  const std::array<float, 7> wanted = {1.0f,  1.0f,        1 + 0x1p-7f, 1 + 0x1p-6f,
                                       -1.0f, 0x1.fep127f, 0x1.08p-128f};
  std::copy(given.begin(), given.end(), m.values[0].begin());
  const Folder folder;
  const std::string out = folder / "out";
  export_model({.model = m.config, .weights = m.weights, .type = TensorType::bf16, .out = out});
  const SafetensorsReader reader(out + "/model.safetensors");
  ASSERT_NE(reader.find("model.embed_tokens.weight"), nullptr);
  EXPECT_EQ(reader.find("model.embed_tokens.weight")->dtype, "BF16");
  std::vector<float> got(28);
  reader.read("model.embed_tokens.weight", got);
  for (size_t i = 0; i < given.size(); ++i) EXPECT_EQ(got[i], wanted[i]) << i;
  EXPECT_EQ(read_json(out + "/config.json").at("torch_dtype"), "bfloat16");
}

TEST(Export, AFolderWithFilesIsRefusedAndUntouched) {
  const Model m = model_of(config_of(AttentionKind::mha));
  const Folder folder;
  const std::string parent = folder.path(), out = folder / "out";
  fs::create_directories(out);
  std::ofstream(out + "/mine.txt") << "mine";
  EXPECT_THROW(export_model({.model = m.config, .weights = m.weights, .out = out}), ConfigError);
  EXPECT_THROW(export_model({.model = m.config, .weights = m.weights, .out = out + "/mine.txt"}),
               ConfigError);
  EXPECT_EQ(list_dir(parent), std::vector<std::string>{"out"});
  EXPECT_EQ(list_dir(out), std::vector<std::string>{"mine.txt"});
  EXPECT_EQ(read_file(out + "/mine.txt"), "mine");
}

TEST(Export, AnEmptyFolderIsFilledAndNothingElseIsLeft) {
  const Model m = model_of(config_of(AttentionKind::mha));
  const Folder folder;
  const std::string parent = folder.path();
  fs::create_directories(parent + "/real");
  fs::create_directory_symlink(parent + "/real", parent + "/link");
  const ExportResult done = export_model({.model = m.config, .weights = m.weights, .out = parent + "/link/"});
  EXPECT_EQ(done.out, fs::canonical(parent).string() + "/real");
  EXPECT_EQ(list_dir(parent + "/real"), done.files);
  EXPECT_EQ(list_dir(parent), (std::vector<std::string>{"link", "real"}));
}

TEST(Export, NothingIsLeftWhereWritingFails) {
  const Model m = model_of(config_of(AttentionKind::mha));
  std::vector<ConstNamedTensor> twice = m.weights;  // no file can hold two tensors of one name
  twice.push_back(twice.back());
  const Folder folder;
  const std::string parent = folder.path();
  EXPECT_THROW(export_model({.model = m.config, .weights = twice, .out = parent + "/out"}), Error);
  EXPECT_TRUE(list_dir(parent).empty());
}

TEST(TokenizerFiles, BytesAreTheirOwnIds) {
  const TokenizerFiles t = tokenizer_files("bytes", ModelConfig{.vocab_size = 256, .max_seq_len = 9});
  EXPECT_TRUE(t.notes.empty() && t.warnings.empty());
  EXPECT_EQ(t.end_of_text, 0);
  const json vocab = json::parse(t.files.at("tokenizer.json")).at("model").at("vocab");
  EXPECT_EQ(vocab.size(), 256u);
  EXPECT_EQ(vocab.at(std::string(1, '\0')), 0);
  EXPECT_EQ(vocab.at("a"), 'a');
  EXPECT_EQ(vocab.at("Ġ"), ' ');  // GPT-2's spelling
  EXPECT_EQ(vocab.at("Ċ"), '\n');
  EXPECT_EQ(vocab.at("ÿ"), 255);
  const json config = json::parse(t.files.at("tokenizer_config.json"));
  EXPECT_EQ(config.at("eos_token"), std::string(1, '\0'));
  EXPECT_EQ(config.at("model_max_length"), 9);
}

TEST(TokenizerFiles, TokensAroundATextAreLeftOutAndThatIsSaid) {
  const Folder folder;
  const std::string path = folder / "tokenizer.json";
  json whole = read_json(std::string(SASLM_FIXTURES_DIR) + "/base.json");
  whole["post_processor"] = {{"type", "TemplateProcessing"}};
  std::ofstream(path) << whole;
  const TokenizerFiles t = tokenizer_files(path, ModelConfig{.vocab_size = 639});
  EXPECT_EQ(t.notes.size(), 1u);
  whole["post_processor"] = nullptr;
  EXPECT_EQ(json::parse(t.files.at("tokenizer.json")), whole);
}

TEST(TokenizerFiles, TruncationAndPaddingAreLeftOutAndThatIsSaid) {
  const Folder folder;
  const std::string path = folder / "tokenizer.json";
  json whole = read_json(std::string(SASLM_FIXTURES_DIR) + "/base.json");
  whole["truncation"] = {
      {"direction", "Right"}, {"max_length", 4}, {"strategy", "LongestFirst"}, {"stride", 0}};
  whole["padding"] = {{"strategy", {{"Fixed", 64}}}, {"pad_id", 0}, {"pad_token", "!"}};
  std::ofstream(path) << whole;
  const TokenizerFiles t = tokenizer_files(path, ModelConfig{.vocab_size = 639});
  EXPECT_EQ(t.notes.size(), 2u);
  whole["truncation"] = whole["padding"] = nullptr;
  EXPECT_EQ(json::parse(t.files.at("tokenizer.json")), whole);
}

TEST(TokenizerFiles, AFileIsCopiedByteForByteWhereNothingIsLeftOut) {
  const std::string path = std::string(SASLM_FIXTURES_DIR) + "/characters.json";
  const TokenizerFiles t = tokenizer_files(path, ModelConfig{.vocab_size = 620});
  EXPECT_EQ(t.files.at("tokenizer.json"), read_file(path));
  EXPECT_EQ(json::parse(t.files.at("tokenizer_config.json")).at("eos_token"), "</s>");
}

TEST(TokenizerFiles, AByteOrderMarkIsNeverExported) {
  const Folder folder;
  const std::string path = folder / "tokenizer.json";
  std::ofstream(path) << "\xef\xbb\xbf" << read_json(std::string(SASLM_FIXTURES_DIR) + "/base.json");
  try {
    tokenizer_files(path, ModelConfig{.vocab_size = 639});
    FAIL() << "exported";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("byte order mark"), std::string::npos);
  }
}

TEST(TokenizerFiles, Gpt2sPairGetsTheNamesThatTransformersKnows) {
  const Folder folder;
  const std::string from = folder.path();
  fs::copy(std::string(SASLM_FIXTURES_DIR) + "/encoder.json", from + "/encoder.json");
  std::string merges = read_file(std::string(SASLM_FIXTURES_DIR) + "/vocab.bpe");
  const std::string wanted = merges;
  merges.erase(0, merges.find('\n') + 1);  // the version
  while (merges.ends_with('\n')) merges.pop_back();
  std::ofstream(from + "/vocab.bpe") << merges;
  const TokenizerFiles t = tokenizer_files(from, ModelConfig{.vocab_size = 639});
  EXPECT_EQ(t.files.at("merges.txt"), wanted);
  EXPECT_EQ(t.files.at("vocab.json"), read_file(from + "/encoder.json"));
  EXPECT_EQ(json::parse(t.files.at("tokenizer_config.json")).at("tokenizer_class"), "GPT2Tokenizer");
}

TEST(TokenizerFiles, WhatDoesNotFitIsSaidAndWhatCannotBeReadRefused) {
  const TokenizerFiles idle = tokenizer_files("bytes", ModelConfig{.vocab_size = 300});
  ASSERT_EQ(idle.warnings.size(), 1u);
  for (const char* part : {"300", "256", "range(44)"})
    EXPECT_NE(idle.warnings[0].find(part), std::string::npos);
  EXPECT_THROW(tokenizer_files("bytes", ModelConfig{.vocab_size = 255}), ConfigError);
  EXPECT_THROW(tokenizer_files("/no/such/tokenizer.json", ModelConfig{.vocab_size = 300}), DataError);
}

TEST(TokenizerFiles, TheEndOfATextPadsOnTheLeft) {
  const TokenizerFiles t = tokenizer_files("bytes", ModelConfig{.vocab_size = 256, .max_seq_len = 9});
  const json config = json::parse(t.files.at("tokenizer_config.json"));
  EXPECT_EQ(config.at("pad_token"), config.at("eos_token"));
  EXPECT_EQ(config.at("padding_side"), "left");
}

TEST(TokenizerFiles, TheByteTokenizerIsKnownAgain) {
  const TokenizerFiles t = tokenizer_files("bytes", ModelConfig{.vocab_size = 256, .max_seq_len = 9});
  EXPECT_TRUE(is_byte_tokenizer(t.files.at("tokenizer.json")));
  EXPECT_FALSE(is_byte_tokenizer(read_file(std::string(SASLM_FIXTURES_DIR) + "/base.json")));
  EXPECT_FALSE(is_byte_tokenizer("{"));
}

}  // namespace
}  // namespace saslm
