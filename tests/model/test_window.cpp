// Sliding windows: their models under the checks of every variant, their config, their FLOPs, and how far a
// token reaches.
#include "model/transformer.h"
#include "tests/config/config_files.h"
#include "tests/model/whole_model.h"
#include "train/engine.h"

namespace saslm {
namespace {

ModelConfig windowed(AttentionKind kind, int64_t size, const std::string& pattern = "S") {
  ModelConfig model = tiny(kind);
  model.attention.window = WindowConfig{size, pattern};
  return model;
}

std::vector<ModelCase> window_cases() {
  std::vector<ModelCase> all{{"window_mha", windowed(AttentionKind::mha, 3)},
                             {"window_in_turn", windowed(AttentionKind::mha, 2, "SL")},
                             {"window_mqa", windowed(AttentionKind::mqa, 2)},
                             {"window_sas", windowed(AttentionKind::sas, 2, "LS")},
                             {"window_beyond", windowed(AttentionKind::sas, 100)}};
  all.push_back({"window_learned", windowed(AttentionKind::mha, 4)});
  all.back().model.attention.position = PositionKind::learned;
  return all;
}
INSTANTIATE_TEST_SUITE_P(Window, WholeModel, testing::ValuesIn(window_cases()), name_of_case);

double attention_macs(const ModelConfig& model, int64_t T) {
  Layout<float> layout(Mode::infer);
  return Transformer<float>(layout, model, {1, T}).macs(T).attention;
}

// Pairs of a query and a key beside each other in T positions; a query's own counts by half.
TEST(Window, MacsCountWhatIsVisible) {
  const int64_t T = 8;
  const double all = 0.5 * double(T * T), of_three = 0.5 + 1.5 + 2.5 * double(T - 2);
  const double of_a_pair = 2 * (4 + 4) / double(T);  // 2 heads, 4 + 4 wide
  const double plain = attention_macs(tiny(AttentionKind::mha), T);
  EXPECT_NEAR(plain - attention_macs(windowed(AttentionKind::mha, 3), T), 2 * of_a_pair * (all - of_three),
              1e-9);
  EXPECT_NEAR(plain - attention_macs(windowed(AttentionKind::mha, 3, "SL"), T), of_a_pair * (all - of_three),
              1e-9);
  EXPECT_EQ(plain, attention_macs(windowed(AttentionKind::mha, T), T));
}

std::vector<double> last_logits(const ModelConfig& model, int32_t changed) {
  Engine<double> engine(model, {.batch = 1, .seq_len = kSeqLen}, Mode::infer, cpu_ops<double>());
  engine.state().initialise(7);
  std::vector<int32_t> tokens(size_t(kSeqLen), 3);
  if (changed >= 0) tokens[size_t(changed)] = 5;
  std::vector<double> logits;
  engine.model().next_logits(engine.backend(), {.inputs = mat<const int32_t>(tokens.data(), 1, kSeqLen)},
                             logits);
  return logits;
}

// Two layers of a window W: the last position hears of those up to 2 (W - 1) before it.
TEST(Window, ReachesAsFarAsItsLayersTogether) {
  const ModelConfig two = windowed(AttentionKind::mha, 2), full = windowed(AttentionKind::mha, 2, "SL");
  for (int32_t changed = 0; changed < kSeqLen; ++changed) {
    EXPECT_EQ(last_logits(two, changed) != last_logits(two, -1), changed >= kSeqLen - 3) << changed;
    EXPECT_NE(last_logits(full, changed), last_logits(full, -1)) << changed;
  }
}

std::string window(const std::string& keys) {
  return R"({"model":{"attention":{"window":{)" + keys + "}}}}";
}

class WindowConfigs : public ConfigFile {};

TEST_F(WindowConfigs, AreReadAndWrittenWhole) {
  const Config config = load(patched(window(R"("size":128,"pattern":"SSSL")")));
  EXPECT_EQ(config.model.attention.window, (WindowConfig{128, "SSSL"}));
  EXPECT_EQ(config.model.attention.window_of(2), 128);
  EXPECT_EQ(config.model.attention.window_of(3), std::nullopt);
  EXPECT_EQ(config.model.attention.window_of(4), 128);
  EXPECT_EQ(load(to_json(config)), config) << to_json(config);
  EXPECT_EQ(load(patched(window(R"("size":128)"))).model.attention.window, (WindowConfig{128, "S"}));
}

TEST_F(WindowConfigs, RefusalsNameWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {window(""), "model.attention.window.size is missing; wanted an integer from 1"},
      {window(R"("size":0)"), "model.attention.window.size: wanted an integer from 1"},
      {window(R"("size":8,"pattern":"SSX")"), R"(window.pattern: wanted letters S (the window) and L)"},
      {window(R"("size":8,"pattern":"")"), R"(window.pattern: wanted letters S)"},
      {window(R"("size":8,"pattern":["S"])"), "model.attention.window.pattern: wanted a string"},
      {window(R"("size":8,"patern":"S")"), "unknown key model.attention.window.patern; did you mean pattern"},
      {R"({"model":{"attention":{"window":128}}})", "model.attention.window: wanted an object"},
  };
  for (const auto& [patch, phrase] : rows) {
    SCOPED_TRACE(patch);
    expect_contains(refusal_of([&, text = patched(patch)] { load(text); }), phrase);
  }
}

}  // namespace
}  // namespace saslm
