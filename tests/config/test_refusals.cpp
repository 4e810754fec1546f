// What a config may not say. Each row breaks one thing and names a phrase its message must hold.
#include <map>

#include "tests/config/config_files.h"

namespace saslm {

namespace {

struct Row {
  std::string patch, phrase;  // patch: over kMinimal
};

std::string attention(const std::string& keys) {
  return R"({"model":{"attention":{)" + keys + "}}}";
}
// Keys that repeat those given here replace them.
std::string sas(const std::string& keys) {
  return attention(R"("kind":"sas","sas":{"n_sim_head":12,"sim_head_dim":12)" + keys + "}");
}
std::string in(const std::string& block, const std::string& keys) {
  return "{\"" + block + "\":{" + keys + "}}";
}

const std::vector<Row> kModelRows = {
    // unknown keys
    {attention(R"("n_heads":4)"), "unknown key model.attention.n_heads; did you mean n_head?"},
    {R"({"optimizer":{}})", "unknown key optimizer; did you mean optim?"},
    {R"({"lr":1e-3})", "unknown key lr; did you mean optim.lr?"},
    {in("data", R"("micro_batch":4)"), "unknown key data.micro_batch; did you mean train.micro_batch?"},
    {R"({"base":"x.json","variants":[]})", "this is the file of a comparison; run it with saslm compare"},
    {R"({"$schema":7})", "unknown key $schema"},
    {R"({"zzz":1})", "Valid here: model, data, optim, train, eval, checkpoint, runtime"},
    {in("model", R"("dmodel":4)"), "unknown key model.dmodel; did you mean d_model?"},
    {in("model", R"("mlp":{"hiden":4})"), "unknown key model.mlp.hiden; did you mean hidden?"},
    {sas(R"(,"kernel":3)"),
     "unknown key model.attention.sas.kernel; did you mean kernel_size? Valid here: simulate, n_sim_head"},
    // words of other trainers: tests/config/test_synonyms.cpp
    {in("optim", R"("learning_rate":1e-3)"),
     "unknown key optim.learning_rate; did you mean lr? Valid here: kind"},
    {in("model", R"("dim":64)"), "unknown key model.dim; did you mean d_model?"},
    {R"({"learning_rate":1e-3})", "unknown key learning_rate; did you mean optim.lr?"},
    {in("model", R"("dropout":0.1)"), "unknown key model.dropout: there is no dropout; remove it"},
    {in("optim", R"("qqq":1)"), "unknown key optim.qqq. Valid here: kind, lr"},
    // missing keys
    {R"({"model":null})", "model is missing; wanted an object"},
    {R"({"data":null})", "data is missing"},
    {in("data", R"("train":null)"), "data.train is missing; wanted a path or a list of paths, at least one"},
    {in("model", R"("vocab_size":null)"),
     "model.vocab_size is missing; wanted an integer from 2 to 2147483647"},
    {in("model", R"("n_layer":null)"), "model.n_layer is missing"},
    {in("model", R"("d_model":null)"), "model.d_model is missing"},
    {in("model", R"("max_seq_len":null)"), "model.max_seq_len is missing"},
    {in("model", R"("attention":null)"), "model.attention is missing"},
    {in("model", R"("mlp":null)"), "model.mlp is missing"},
    {in("model", R"("mlp":{"hidden":null})"), "model.mlp.hidden is missing"},
    {attention(R"("kind":null)"),
     R"(model.attention.kind is missing; wanted one of "mha", "mqa", "gqa", "sas")"},
    {attention(R"("n_head":null)"), "model.attention.n_head is missing"},
    {attention(R"("head_dim":null)"), "model.attention.head_dim is missing"},
    {attention(R"("kind":"gqa")"), "model.attention.n_kv_head is missing"},
    {attention(R"("kind":"sas")"), "model.attention.sas is missing; wanted an object"},
    {attention(R"("kind":"sas","sas":{"sim_head_dim":8})"), "model.attention.sas.n_sim_head is missing"},
    {attention(R"("kind":"sas","sas":{"n_sim_head":12})"), "model.attention.sas.sim_head_dim is missing"},
    // wrong types
    {attention(R"("n_head":"12")"), R"(n_head: wanted an integer from 1 to 65536, got "12" (a string))"},
    {attention(R"("n_head":8.0)"), "got 8.0 (a floating-point number)"},
    {attention(R"("n_head":true)"), "got true (a boolean)"},
    {attention(R"("n_head":[4])"), "got [4] (a list)"},
    {attention(R"("kind":"flash")"), R"(model.attention.kind: wanted one of "mha", "mqa", "gqa", "sas")"},
    {attention(R"("kind":"flash")"), R"(, got "flash")"},
    {attention(R"("kind":0)"), "got 0 (an integer)"},
    {in("model", R"("attention":"mha")"), R"(model.attention: wanted an object, got "mha" (a string))"},
    {in("model", R"("tie_embeddings":1)"), "model.tie_embeddings: wanted true or false, got 1 (an integer)"},
    {R"({"model":[]})", "model: wanted an object, got [] (a list)"},
    {in("data", R"("train":7)"), "data.train: wanted a path or a list of paths, at least one, got 7"},
    {in("data", R"("train":["a",7])"), R"(got ["a",7] (a list))"},
    {in("data", R"("train":[])"), "data.train: wanted a path or a list of paths, at least one, got []"},
    {in("data", R"("train":"")"), "data.train: wanted a path or a list of paths, at least one, got \"\""},
    {in("data", R"("train":["a",""])"), "data.train: wanted a path or a glob pattern, got an empty string"},
    {in("data", R"("train":"a\u0000b")"),
     "data.train: wanted a path or a glob pattern, got a zero byte in it"},
    {in("data", R"("val":["a",""])"), "data.val: wanted a path"},
    {in("data", R"("val":false)"), "data.val: wanted a path or a list of paths, got false"},
    {in("data", R"("tokenizer":1)"), "data.tokenizer: wanted a string, got 1"},
    // out of range
    {attention(R"("n_head":0)"), "model.attention.n_head: wanted an integer from 1 to 65536, got 0"},
    {attention(R"("n_head":-4)"), "got -4 (an integer)"},
    {attention(R"("n_head":18446744073709551615)"), "got 18446744073709551615 (an integer)"},
    {attention(R"("n_head":99999999999999999999)"), "got 1e+20 (a floating-point number)"},
    {attention(R"("rope_base":0)"), "model.attention.rope_base: wanted a number from 1 to"},
    {in("model", R"("vocab_size":1)"), "model.vocab_size: wanted an integer from 2"},
    {in("model", R"("vocab_size":2147483648)"),
     "model.vocab_size: wanted an integer from 2 to 2147483647, got 2147483648"},
    {in("model", R"("norm":{"eps":0})"), "model.norm.eps: wanted a number from 1e-30 to 1, got 0"},
    // what does not go together
    {attention(R"("n_kv_head":4)"), R"(model.attention.n_kv_head: belongs to kind "gqa")"},
    {attention(R"("kind":"gqa","n_kv_head":5)"), "n_kv_head: wanted a divisor of n_head (12), got 5"},
    {attention(R"("kind":"gqa","n_kv_head":24)"), "n_kv_head: wanted a divisor of n_head (12), got 24"},
    {attention(R"("sas":{"n_sim_head":12,"sim_head_dim":8})"),
     R"(kind "mha" has no simulation; for mha with simulation set kind to "sas")"},
    {sas(R"(,"n_kv_head":4)"), "unknown key model.attention.sas.n_kv_head"},
    {attention(R"("kind":"sas","n_kv_head":4,"sas":{"n_sim_head":12,"sim_head_dim":8})"),
     "n_kv_head: belongs to kind"},
    {sas(R"(,"n_sim_head":18)"), "n_sim_head: wanted a multiple of n_head (12), got 18"},
    {sas(R"(,"sim_head_dim":9)"), "sas.sim_head_dim: wanted an even number"},
    {sas(R"(,"kernel_size":4)"), "kernel_size: wanted an odd number"},
    {sas(R"(,"kernel_size":65)"), "kernel_size: wanted an integer from 1 to 63, got 65"},
    {sas(R"(,"init_noise":-1)"), "init_noise: wanted a number from 0 to 100"},
    {sas(R"(,"simulate":[])"),
     R"(wanted a list of one or more of "heads", "features", "values", each at most once, got [])"},
    {sas(R"(,"simulate":"heads")"), R"(got "heads" (a string))"},
    {sas(R"(,"simulate":["heads","heads"])"), "each at most once"},
    {sas(R"(,"simulate":["head"])"), R"(got ["head"] (a list))"},
    {sas(R"(,"simulate":["features","values"])"), R"("values" needs "heads")"},
    {sas(R"(,"simulate":["features"],"n_sim_head":24)"),
     R"(n_sim_head: wanted n_head (12) or no key, since "heads" is not simulated, got 24)"},
    {sas(R"(,"simulate":["heads"],"sim_head_dim":12)"), "sim_head_dim: wanted head_dim (8) or no key"},
    {attention(R"("head_dim":7)"), "model.attention.head_dim: wanted an even number"},
    {in("model", R"("vocab_size":2147483647,"d_model":1048576)"), "more than 2^40 parameters"},
};

const std::vector<Row> kRunRows = {
    {in("optim", R"("kind":"sgd")"), R"(optim.kind: wanted "adamw", got "sgd")"},
    {in("optim", R"("lr":-1)"), "optim.lr: wanted a number from 0 to 1000, got -1"},
    {in("optim", R"("lr":"6e-4")"), R"(got "6e-4" (a string))"},
    {in("optim", R"("betas":[0.9])"),
     "optim.betas: wanted a list of two numbers from 0 to below 1, got [0.9]"},
    {in("optim", R"("betas":[0.9,1])"), "got [0.9,1]"},
    {in("optim", R"("betas":[-0.1,0.9])"), "got [-0.1,0.9]"},
    {in("optim", R"("betas":0.9)"), "got 0.9 (a floating-point number)"},
    {in("optim", R"("eps":0)"), "optim.eps: wanted a number from 1e-30"},
    {in("optim", R"("eps":1e-50)"), "optim.eps: wanted a number from 1e-30"},
    {in("optim", R"("grad_clip":-1)"), "optim.grad_clip"},
    {in("optim", R"("weight_decay":-1)"), "optim.weight_decay"},
    {in("optim", R"("schedule":"cosine")"), "optim.schedule: wanted an object"},
    {in("optim", R"("schedule":{"kind":"step"})"), R"("constant", "cosine", "linear", "wsd", got "step")"},
    {in("optim", R"("schedule":{"warmup_steps":1001})"),
     "warmup_steps: wanted at most train.steps (1000), got 1001"},
    {in("optim", R"("schedule":{"min_lr_ratio":1.5})"), "min_lr_ratio: wanted a number from 0 to 1, got 1.5"},
    {in("optim", R"("schedule":{"decay_fraction":0.2})"), R"(decay_fraction: belongs to kind "wsd")"},
    {in("optim", R"("schedule":{"kind":"wsd","decay_fraction":0})"), "decay_fraction: wanted a number from"},
    {in("optim", R"("schedule":{"kind":"wsd","decay_fraction":1.1})"),
     "decay_fraction: wanted a number from"},
    {in("train", R"("steps":0)"), "train.steps: wanted an integer from 1 to 1000000000, got 0"},
    {in("train", R"("seq_len":17)"), "train.seq_len: wanted at most model.max_seq_len (16), got 17"},
    {in("train", R"("seq_len":0)"), "train.seq_len: wanted an integer from 1"},
    {in("train", R"("micro_batch":0)"), "train.micro_batch"},
    {in("train", R"("grad_accum":0)"), "train.grad_accum: wanted an integer from 1"},
    {in("train", R"("global_batch":12)"), "train.global_batch: wanted a multiple of micro_batch (8), got 12"},
    {in("train", R"("global_batch":4)"), "train.global_batch: wanted a multiple of micro_batch (8), got 4"},
    {in("train", R"("global_batch":32,"grad_accum":2)"),
     "wanted micro_batch * grad_accum (16), got 32; give only one"},
    {in("train", R"("grad_accum":1048576,"micro_batch":1024)"),
     "wanted fewer than 2^31 tokens in a step, got micro_batch * grad_accum * seq_len = 1024 * 1048576 * 16"},
    {R"({"model":{"max_seq_len":16777216},"train":{"grad_accum":1048576,"micro_batch":1048576}})",
     "1048576 * 1048576 * 16777216"},
    {R"({"model":{"vocab_size":2147483647,"d_model":1},"train":{"micro_batch":1048576}})", "2^50 values"},
    {in("train", R"("seed":-1)"), "train.seed: wanted an integer from 0 to 18446744073709551615, got -1"},
    {in("train", R"("seed":1.5)"), "train.seed"},
    {in("train", R"("z_loss":-0.1)"), "train.z_loss: wanted a number from 0 to 1000, got -0.1"},
    {in("train", R"("z_loss":"1e-4")"), "train.z_loss: wanted a number from 0 to 1000, got \"1e-4\""},
    {in("model", R"("logit_softcap":-1)"), "model.logit_softcap: wanted a number from 0 to 1000000, got -1"},
    {in("model", R"("logit_softcap":true)"), "model.logit_softcap: wanted a number"},
    {in("model", R"("final_logit_softcapping":30)"), "did you mean logit_softcap?"},
    {in("train", R"("max_bad_steps":0)"), "train.max_bad_steps"},
    {in("train", R"("spike_threshold":-1)"), "train.spike_threshold"},
    {in("train", R"("spike_window":1)"), "train.spike_window"},
    {in("eval", R"("every_steps":-1)"), "eval.every_steps"},
    {in("eval", R"("max_sequences":-1)"), "eval.max_sequences"},
    {in("checkpoint", R"("keep_last":0)"), "checkpoint.keep_last"},
    {in("checkpoint", R"("every":5)"),
     "unknown key checkpoint.every; did you mean every_steps? Valid here: every_steps, keep_last, "
     "keep_every"},
    {in("runtime", R"("threads":1025)"), "runtime.threads: wanted an integer from 0 to 1024, got 1025"},
    {in("runtime", R"("device":"gpu")"), R"(runtime.device: wanted one of "auto", "cpu", "cuda", got "gpu")"},
    {in("runtime", R"("precision":"fp16")"), R"(wanted one of "auto", "bf16", "fp32", got "fp16")"},
    {in("runtime", R"("precision":"bf16","device":"cpu")"), "the CPU computes in fp32"},
    {in("runtime", R"("peak_tflops":-1)"), "runtime.peak_tflops"},
    {in("runtime", R"("zero_stage":2)"), "runtime.zero_stage: wanted an integer from 0 to 1, got 2"},
    {in("runtime", R"("gradient_sum":"fast")"), R"(wanted one of "fixed", "library", got "fast")"},
    {in("runtime", R"("recompute":"all")"), R"(wanted one of "none", "sim", "block", got "all")"},
};

class Refusals : public ConfigFile {
 protected:
  std::string message(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    SCOPED_TRACE(text.substr(0, 1000));
    write(text);
    return refusal_of([&] { load_config(path(), overrides); });
  }

  void refuse(const std::vector<Row>& rows) const {
    for (const Row& row : rows) {
      SCOPED_TRACE(row.patch);
      const std::string got = message(patched(row.patch));
      EXPECT_TRUE(got.starts_with(path() + ": ")) << got;
      expect_contains(got, row.phrase);
    }
  }
};

TEST_F(Refusals, BadModelsAreNamed) {
  refuse(kModelRows);
}
TEST_F(Refusals, BadRunsAreNamed) {
  refuse(kRunRows);
}

TEST_F(Refusals, BadTextIsNamed) {
  const std::string deep(100000, '['), deep_objects = [] {
    std::string text;
    for (int i = 0; i < 65; ++i) text += "{\"a\":";
    return text;
  }();
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", "empty"},
      {"  \n", "line 2, column 1"},
      {"{\n  \"a\": 1,\n}", "a comma before a closing bracket (line 2)"},
      {"{\n  \"a\": 1\n  \"b\"}", "line 3, column 5"},
      {"{'a': 1}", "line 1, column 2"},
      {"{\"a\": 1} x", "line 1, column 10"},
      {"{} {}", "line 1, column 4"},
      {"{\"a\": 1 // c\n}", "line 1"},
      {"[1]", "wanted one JSON object, got [1] (a list)"},
      {"12", "wanted one JSON object, got 12 (an integer)"},
      {"{\"optim\": {\"lr\": NaN}}", "line 1, column 18"},
      {"{\"optim\": {\"lr\": Infinity}}", "line 1, column 18"},
      {"{\"optim\": {\"lr\": 1e999}}", "optim.lr: number overflow parsing '1e999'; wanted a finite number"},
      {"\xEF\xBB\xBF{}", "byte order mark"},
      {std::string("{}\0{", 4), "a zero byte at offset 2"},
      {"{\"a\": \"\xFF\"}", "line 1"},
      {"{\"model\": {\"d\": 1, \"d\": 2}}", "model.d: this key is given twice"},
      {"{\"a\": 1, \"a\": 1}", "a: this key is given twice"},
      {"{\"x\": [{\"b\": 1, \"b\": 1}]}", "x.b: this key is given twice"},
      {deep, "nested more than 64 levels"},
      {deep_objects, "nested more than 64 levels at a.a.a"},
      {std::string((size_t{16} << 20) + 1, ' '), "larger than 16 MiB"},
  };
  for (const auto& [text, phrase] : rows) {
    const std::string got = message(text);
    expect_contains(got, phrase);
    EXPECT_LT(got.size(), path().size() + 600) << "a message must not repeat a whole file";
  }
}

TEST_F(Refusals, NestingOf64LevelsIsOnlyUnknownKeys) {
  std::string text = "1";
  for (int i = 0; i < 64; ++i) text = "{\"a\":" + text + "}";
  expect_contains(message(text), "unknown key a");
}

TEST_F(Refusals, TheSameKeyInTwoObjectsIsFine) {
  EXPECT_NO_THROW(load(patched(R"({"model":{"norm":{"kind":"layernorm"}}})")));
}

TEST_F(Refusals, AFileThatCannotBeReadIsNamedWithTheReason) {
  const std::map<std::string, std::string> rows = {{folder_ / "none.json", "No such file or directory"},
                                                   {folder_, "this is a folder"},
                                                   {"", "No such file"}};
  for (const auto& [name, reason] : rows) {
    for (const bool model_only : {false, true}) {
      const std::string got = refusal_of(
          [&, file = name] { model_only ? void(load_model_config(file)) : void(load_config(file)); });
      expect_contains(got, name + (name == folder_ ? ": this " : ": cannot "));
      expect_contains(got, reason);
    }
  }
}

TEST_F(Refusals, BadOverridesNameTheArgument) {
  const std::string deep = [] {
    std::string text = "a";
    for (int i = 0; i < 64; ++i) text += ".a";
    return text + "=1";
  }();
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"optim.lr", "--set optim.lr: wanted KEY=VALUE"},
      {"", "--set : wanted KEY=VALUE"},
      {"=3", "--set =3: wanted a key"},
      {".=3", "--set .=3: wanted a key"},
      {"optim..lr=3", "--set optim..lr=3: wanted a key"},
      {"optim.=3", "--set optim.=3: wanted a key"},
      {"model.n_layer.x=3", "--set model.n_layer.x=3: model.n_layer cannot hold a key: it is 2 (an integer)"},
      {"data.train=\xFF", "not UTF-8"},
      {"optim.lr=1e999", "finite number"},
      {"model.mlp={\"a\":1,\"a\":2}", "--set model.mlp={\"a\":1,\"a\":2}: a: this key is given twice"},
      {deep, "more than 64 levels"},
      {"optim.lr=fast",
       "with --set optim.lr=fast: optim.lr: wanted a number from 0 to 1000, got \"fast\" (a string)"},
      {"optim.rl=1", "unknown key optim.rl; did you mean lr?"},
      {"model.attention=null", "model.attention: wanted an object, got null"},
  };
  for (const auto& [argument, phrase] : rows) expect_contains(message(kMinimal, {argument}), phrase);
}

TEST_F(Refusals, ABadModelBlockIsRefusedAlone) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"{}", "model is missing"},
      {patched(in("model", R"("n_layers":4)")), "unknown key model.n_layers; did you mean n_layer?"},
      {patched(sas(R"(,"kernel_size":2)")), "kernel_size: wanted an odd number"},
  };
  for (const auto& [text, phrase] : rows) {
    write(text);
    const std::string got = refusal_of([&] { load_model_config(path()); });
    expect_contains(got, path() + ": ");
    expect_contains(got, phrase);
  }
}

}  // namespace
}  // namespace saslm
