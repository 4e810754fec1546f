// Weights of two bytes with fp32 masters beside them, on one rank and on several that share the masters: what
// is stored, fetched, updated and spread. Nothing is computed, so that it needs no GPU.
#include <cstring>

#include "tests/train/many_ranks.h"
#include "tests/train/momentum.h"

namespace saslm {
namespace {

// Memory of the host that passes for a device's, and no arithmetic.
Ops<bf16> memory_alone() {
  Ops<bf16> ops{};
  ops.allocate = allocate_host;
  ops.open_stream = [] { return std::make_shared<const Stream>(); };
  ops.follow = [](Stream, Stream) {};
  ops.rope_fill = [](Stream, const RopeFill<bf16>&) {};
  ops.copy_in = [](Stream, void* to, const void* from, size_t n) { std::memcpy(to, from, n); };
  ops.copy_out = [](Stream, void* to, const void* from, size_t n) { std::memcpy(to, from, n); };
  ops.zero = [](Stream, void* at, size_t n) { std::memset(at, 0, n); };
  return ops;
}

// Adds to every weight what is kept of it; nothing is kept of vectors, to which 1 is added.
class AddKept : public Optimizer<bf16> {
 public:
  std::vector<StateSlot> slots() const override {
    return {{"one"}, {"kept", [](const ParamSpec& spec) { return spec.shape.size() >= 2; }}};
  }
  bool whole(const ParamSpec& spec) const override { return Momentum::of_blocks(spec); }
  void update(const Backend<bf16>&, const TensorPart<bf16>& part, const UpdateStep&) const override {
    EXPECT_TRUE(!whole(*part.spec) || part.master.size == part.spec->size) << part.spec->name;
    for (int64_t i = 0; i < part.master.size; ++i) {
      part.master[i] += part.state[1] ? part.state[1][i] : 1.0f;
      part.param[i] = bf16(part.master[i]);
    }
  }
};
std::unique_ptr<const Optimizer<bf16>> make_add_kept(Layout<bf16>&, const OptimConfig&) {
  return std::make_unique<AddKept>();
}

// A value for every element of every tensor, told apart by all of its bits.
float value_of(const std::string& tensor, size_t i) {
  return float(uniform(stream_key(1, tensor), i)) + 1.0f;
}
int64_t size_of_shape(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t extent : shape) size *= extent;
  return size;
}
void store_all(ModelState<bf16>& state) {
  const StateTensors names = state.names();
  for (const auto* tensors : {&names.weights, &names.optimizer})
    for (const ConstNamedTensor& t : *tensors) {
      std::vector<float> values(size_t(size_of_shape(t.shape)));
      for (size_t i = 0; i < values.size(); ++i) values[i] = value_of(t.name, i);
      state.store({t.name, t.shape, values});
    }
}

// Where values first differ from what is wanted; their number if nowhere. A rank must not leave a test early:
// the others would wait for it.
template <class Wanted>
size_t first_difference(std::span<const float> values, const Wanted& wanted) {
  size_t i = 0;
  while (i < values.size() && values[i] == wanted(i)) ++i;
  return i;
}

void expect_held(int ranks, bool sharded) {
  SCOPED_TRACE(testing::Message() << ranks << (sharded ? " ranks, sharded" : " ranks"));
  const Ops<bf16> ops = memory_alone();
  Config c = shared_config("gqa_sas", ranks);
  c.model.mlp.hidden = 600;  // of more than a block and than a bucket
  const Sharing sharing{.sharded = sharded, .bucket = 2 * Shares::kBlock};
  const auto work = [&](const Communicator& comm) {
    Engine<bf16> engine(c.model, training_shape(c), Mode::train, ops, comm, sharing, c.optim, make_add_kept);
    for (const Kept<bf16>& slot :
         engine.state_plan().slots()) {  // what is sharded is gathered in several parts
      EXPECT_TRUE(!sharded || slot.most() > engine.state_plan().handed_over());
    }
    store_all(engine.state());
    for (const bool copied : {false, true}) {  // a snapshot is taken of the same
      const StateTensors state = copied ? engine.state().snapshot() : engine.state().fetch();
      EXPECT_EQ(state.weights.empty(), !comm.first());
      for (const auto* tensors : {&state.weights, &state.optimizer})
        for (const ConstNamedTensor& t : *tensors)
          EXPECT_EQ(first_difference(t.data, [&](size_t i) { return value_of(t.name, i); }), t.data.size())
              << t.name;
    }
    engine.update(0, 0, 1);
    const StateTensors after = engine.state().fetch();
    for (const ConstNamedTensor& t : after.weights)
      EXPECT_EQ(first_difference(t.data,
                                 [&](size_t i) {
                                   return value_of(t.name, i) +
                                          (t.shape.size() >= 2 ? value_of("kept." + t.name, i) : 1.0f);
                                 }),
                t.data.size())
          << t.name;
    for (const ParamSpec& spec : engine.layout().params()) {  // as all ranks compute with them
      const Vec<bf16> weights = engine.arena().tensor<bf16>(Region::parameters, spec);
      for (int64_t i = 0; i < spec.size; ++i) {
        const float kept = spec.shape.size() >= 2 ? value_of("kept." + spec.name, size_t(i)) : 1.0f;
        ASSERT_EQ(float(weights[i]), float(bf16(value_of(spec.name, size_t(i)) + kept))) << spec.name;
      }
    }
  };
  if (ranks == 1)
    work(single_rank());
  else
    ThreadRanks(ranks, ops).run(work);
}

TEST(ModelState, OfTwoByteWeightsIsHeldUpdatedAndSpreadOnAnyRanks) {
  expect_held(1, false);
  expect_held(4, false);
  expect_held(2, true);
  expect_held(8, true);
}

TEST(ModelState, BeginsAsTheSeedSaysInBothForms) {
  const Ops<bf16> ops = memory_alone();
  const Config c = shared_config("gqa_sas", 1);
  Engine<bf16> engine(c.model, training_shape(c), Mode::train, ops);
  Engine<float> wanted(c.model, training_shape(c), Mode::train, cpu_ops<float>());
  engine.state().initialise(7), wanted.state().initialise(7);
  const StateTensors masters = engine.state().fetch(), floats = wanted.state().fetch();
  ASSERT_EQ(masters.weights.size(), floats.weights.size());
  for (size_t t = 0; t < floats.weights.size(); ++t) {
    const ParamSpec& spec = engine.layout().params()[t];
    const Vec<bf16> weights = engine.arena().tensor<bf16>(Region::parameters, spec);
    for (size_t i = 0; i < size_t(spec.size); ++i) {
      ASSERT_EQ(masters.weights[t].data[i], floats.weights[t].data[i]) << spec.name;
      ASSERT_EQ(float(weights[int64_t(i)]), float(bf16(floats.weights[t].data[i]))) << spec.name;
    }
  }
}

TEST(ModelState, RefusesATensorThatIsNotTheModels) {
  const Config c = shared_config("gqa_sas", 1);
  Engine<float> engine(c.model, training_shape(c), Mode::train, cpu_ops<float>());
  const std::vector<float> values(3);
  EXPECT_THROW(engine.state().store({"no.such", {3}, values}), ShapeError);
  EXPECT_THROW(engine.state().store({"m.embed.weight", {3}, values}), ShapeError) << "of another size";
}

}  // namespace
}  // namespace saslm
