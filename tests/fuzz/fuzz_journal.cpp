// Input: the journal of a `saslm tokenize` that was killed.
#include "core/error.h"
#include "data/tokenize_journal.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_journal {

const std::string kJob = R"({"tokenizer":"bytes","inputs":["a.txt",{"bytes":7}],"format":"llmc_u16"})";

bool same(const std::optional<TokenizeState>& a, const std::optional<TokenizeState>& b) {
  if (!a || !b) return !a && !b;
  return a->next.input == b->next.input && a->next.offset == b->next.offset &&
         a->next.in_document == b->next.in_document && a->bytes_read == b->bytes_read &&
         a->tokens == b->tokens && a->bytes == b->bytes && a->documents == b->documents &&
         a->boundaries == b->boundaries;
}

bool run(std::string_view input) {
  static const Scratch scratch;
  const std::string path = scratch.write("x.journal", input);
  return accepts<DataError>([&] {
    const auto state = TokenizeJournal(path, kJob).state();
    if (state)
      for (const int64_t n : {state->next.input, state->next.offset, state->bytes_read, state->tokens,
                              state->bytes, state->documents, state->boundaries})
        require(n >= 0, "nothing is counted below zero");
    require(read_file(path).starts_with(kJob + "\n") && read_file(path).ends_with('\n'),
            "a journal that is taken over is whole");
    TokenizeJournal journal(path, kJob);
    require(same(journal.state(), state), "what was read is still there");
    TokenizeState next = state.value_or(TokenizeState{});
    next.bytes_read = 77, next.next.in_document = true;
    journal.record(next);
    journal = TokenizeJournal(scratch.write("y.journal", read_file(path)), kJob);
    require(same(journal.state(), next), "what was recorded last counts");
  });
}

std::vector<std::string> seeds() {
  const Scratch scratch;
  TokenizeJournal journal(scratch / "x", kJob);
  journal.record(
      {.next = {0, 4096, false}, .bytes_read = 4096, .tokens = 4090, .bytes = 4090, .documents = 2});
  journal.record({.next = {1, 10, true}, .bytes_read = 5000, .tokens = 4900, .bytes = 4890, .boundaries = 3});
  const std::string text = read_file(scratch / "x");
  return {text, text + R"({"input":1,"off)", kJob, ""};
}

}  // namespace of_journal

const Target kJournal = {"journal", of_journal::run, of_journal::seeds};

}  // namespace saslm::fuzz
