// Sums over ranks while backward goes on: what is queued when, in which queue, and who waits for whom.
#include "tests/train/many_ranks.h"

namespace saslm {
namespace {

using Diary = std::vector<std::string>;

thread_local Diary* diary = nullptr;  // the first rank's, while it computes a step
thread_local int queues = 0;          // opened by this rank: the model's, then the one beside it

void note(const std::string& what, Stream stream) {
  if (diary == nullptr) return;
  const bool beside = *static_cast<const int*>(stream.handle) == 1;
  diary->push_back(what + (beside ? ", beside" : ", model"));
}

Ops<float> ops_with_diary() {
  Ops<float> ops = cpu_ops<float>();
  ops.open_stream = [] {
    const auto number = std::make_shared<int>(queues++);
    return std::shared_ptr<const Stream>(new Stream{number.get(), nullptr},
                                         [number](const Stream* stream) { delete stream; });
  };
  ops.follow = [](Stream follower, Stream leader) {
    if (follower.handle != leader.handle) note("wait for the other", follower);
  };
  ops.embedding_bwd = [](Stream stream, const EmbeddingBwd<float>& a) {
    note("end of backward", stream);
    cpu_ops<float>().embedding_bwd(stream, a);
  };
  ops.accumulate = [](Stream stream, const Accumulate<float>& a) {
    note("add", stream);
    cpu_ops<float>().accumulate(stream, a);
  };
  ops.block_squares = [](Stream stream, const BlockSquares<float>& a) {
    note("squares", stream);
    cpu_ops<float>().block_squares(stream, a);
  };
  ops.adamw = [](Stream stream, const AdamW<float>& a) {
    if (diary != nullptr && diary->back() != "update, model") note("update", stream);
    cpu_ops<float>().adamw(stream, a);
  };
  return ops;
}

// Of the first of so many ranks, in one step.
Diary diary_of_a_step(int count, int64_t micro_batches, const Sharing& sharing) {
  const Ops<float> ops = ops_with_diary();
  Config c = shared_config("sas_k5", count);
  c.train.grad_accum = micro_batches;
  ThreadRanks ranks(count, ops);
  ranks.on_call = [](Stream stream, const char* doing) {
    if (stream.handle != nullptr) note(doing, stream);
  };
  Diary entries;
  ranks.run([&](const Communicator& comm) {
    Engine<float> engine(c.model, training_shape(c), Mode::train, ops, comm, sharing, c.optim);
    engine.state().initialise(1);
    if (comm.first()) diary = &entries;
    const std::vector<int32_t> tokens(size_t(c.train.seq_len));
    const TokenBatch batch{.inputs = mat(tokens.data(), 1, c.train.seq_len),
                           .targets = mat(tokens.data(), 1, c.train.seq_len)};
    engine.update(1e-3, engine.compute_gradients([&](int64_t) { return batch; }).grad_norm, 1);
    engine.state();  // as the next step, which needs weights
  });
  return entries;
}

int64_t count_of(const Diary& entries, const std::string& what, size_t from, size_t to) {
  return std::count(entries.begin() + int64_t(from), entries.begin() + int64_t(to), what);
}
size_t place_of(const Diary& entries, const std::string& what, size_t from = 0) {
  return size_t(std::find(entries.begin() + int64_t(from), entries.end(), what) - entries.begin());
}

TEST(Overlap, FinishedBucketsAreSummedBeforeTheLastBackwardEndsAndNoneBeforeIt) {
  for (const bool sharded : {false, true}) {
    const Diary entries = diary_of_a_step(4, 2, {.sharded = sharded, .bucket = Shares::kBlock});
    const size_t end = entries.size(), first = place_of(entries, "end of backward, model");
    const size_t last = place_of(entries, "end of backward, model", first + 1);
    const size_t update = place_of(entries, "update, model");
    ASSERT_LT(update, end);
    EXPECT_EQ(first, 0u) << "the first micro-batch's gradients are not summed: " << entries[0];
    // Five blocks, each a bucket of one stage, or two with that of the way back; an exchange carries a stage
    // of two buckets. The first bucket has the embedding's gradients, which are last.
    EXPECT_EQ(count_of(entries, "sum of gradients, beside", first, last), 4);
    EXPECT_EQ(count_of(entries, "sum of gradients, beside", last, update), sharded ? 1 : 2);
    // A step that is skipped makes no update: it spreads nothing.
    EXPECT_EQ(count_of(entries, "spread of weights, beside", 0, update), 0);
    EXPECT_EQ(count_of(entries, "spread of weights, beside", update, end), sharded ? 5 + 1 : 0);
  }
}

// The second micro-batch's gradients are added to the first's, and then to the other rank's.
TEST(Overlap, EachQueueWaitsForTheOtherBeforeItReadsWhatThatWrites) {
  const Diary sums{"end of backward, model",     "end of backward, model",
                   "wait for the other, beside", "add, beside",
                   "sum of gradients, beside",   "add, beside"};
  const Diary norm{"wait for the other, model", "squares, model", "sum of gradients, model", "update, model"};
  Diary whole = sums, sharded = sums;
  whole.push_back("sum of gradients, beside");  // back to the others
  for (Diary* all : {&whole, &sharded}) all->insert(all->end(), norm.begin(), norm.end());
  // To the others; what follows begins meanwhile, and the next step waits until it is done.
  sharded.insert(sharded.end(), {"wait for the other, beside", "spread of weights, beside",
                                 "spread of weights, beside", "wait for the other, model"});
  EXPECT_EQ(diary_of_a_step(2, 2, {}), whole);
  EXPECT_EQ(diary_of_a_step(2, 2, {.sharded = true}), sharded);
}

// What backward calls final it does not touch again; and it calls everything final, from the end on.
void finals_are_final(const std::string& name, Recompute recompute) {
  SCOPED_TRACE(name + std::string(" ") + name_of(recompute));
  Config c = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / name / "config.json");
  c.runtime.recompute = recompute;
  const Ops<float>& ops = cpu_ops<float>();
  Engine<float> engine(c.model, training_shape(c), Mode::train, ops);
  engine.state().initialise(1);
  std::vector<int32_t> tokens(size_t(c.train.micro_batch * c.train.seq_len));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = int32_t(i % 7);
  const Vec<float> g = engine.arena().gradients();
  std::vector<float> seen(size_t(g.size), std::nanf(""));
  int64_t begin = g.size;
  int told = 0;
  const auto all = mat<const int32_t>(tokens.data(), c.train.micro_batch, c.train.seq_len);
  engine.model().add_loss_and_grads(engine.backend(),
                                    {.tokens = {.inputs = all, .targets = all}, .scale = 0.01},
                                    [&](int64_t first, int64_t end) {
                                      EXPECT_EQ(end, begin);
                                      std::copy(g.data + first, g.data + end, seen.begin() + first);
                                      begin = first, ++told;
                                    });
  EXPECT_EQ(begin, 0);
  EXPECT_EQ(told, c.model.n_layer + 2);
  for (int64_t i = 0; i < g.size; ++i) ASSERT_EQ(seen[size_t(i)], g[i]) << "element " << i;
}

TEST(FinalGradients, AreNotTouchedAgain) {
  for (const std::string& name : golden_cases())
    for (const Recompute recompute : {Recompute::none, Recompute::sim, Recompute::block})
      finals_are_final(name, recompute);
}

}  // namespace
}  // namespace saslm
