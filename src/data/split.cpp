#include "data/split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>

#include "core/error.h"
#include "data/regex_dialect.h"

namespace saslm {

namespace {

constexpr size_t kJitStackBytes = 8 << 20;  // maximum; it starts small
// Limit of steps per match: enough to backtrack over the longest piece (WordEncoder::kMaxPieceBytes) a few
// times, but reached within seconds by an exponential pattern.
constexpr uint32_t kMaxSteps = 1'000'000'000;

template <auto free>
struct Free {
  template <class T>
  void operator()(T* p) const {
    free(p);
  }
};

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text = {};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

struct SplitPatterns::Pattern {
  std::string name;  // for messages
  std::unique_ptr<pcre2_code, Free<pcre2_code_free>> code;
};

SplitPatterns::SplitPatterns(const std::string& path, const std::vector<SplitStep>& steps) {
  for (const SplitStep& step : steps) {
    const std::string name = path + ": pre_tokenizer: pattern `" + step.pattern + "`: ";
    const auto fail = [&](const std::string& why) { throw DataError(name + why); };
    const std::string pattern =
        (step.literal ? literal_to_pcre2 : to_pcre2)(step.pattern, path + ": pre_tokenizer");
    int error = 0;
    PCRE2_SIZE where = 0;
    pcre2_code* code =
        pcre2_compile(units(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error,
                      &where, nullptr);
    if (code == nullptr) fail(message_of(error));
    patterns_.push_back({name, {}});
    patterns_.back().code.reset(code);
    uint32_t matches_nothing = 0;
    pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &matches_nothing);
    if (matches_nothing != 0) fail("it can match the empty string, which splits nothing");
    // Without JIT support this fails, and pcre2_match interprets: slower, with the same result.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
  }
}

SplitPatterns::~SplitPatterns() = default;

struct PieceSplitter::Scratch {
  std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>> match{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>> context{
      pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>> stack{
      pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr)};

  Scratch() {
    if (!match || !context) throw std::bad_alloc();
    pcre2_set_match_limit(context.get(), kMaxSteps);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

PieceSplitter::PieceSplitter(const SplitPatterns& patterns)
    : patterns_(patterns), n_steps_(patterns.patterns_.size()), scratch_(std::make_unique<Scratch>()) {}

PieceSplitter::~PieceSplitter() = default;

PieceSplitter::Match PieceSplitter::find(size_t step, std::string_view text, bool open) {
  const SplitPatterns::Pattern& pattern = patterns_.patterns_[step];
  // PARTIAL_HARD: if an attempt looks past the end, PCRE2 reports a partial match instead of a match that
  // more text could change.
  const uint32_t options = PCRE2_NO_UTF_CHECK | (open ? PCRE2_PARTIAL_HARD : 0);
  const int result = pcre2_match(pattern.code.get(), units(text), text.size(), 0, options,
                                 scratch_->match.get(), scratch_->context.get());
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch_->match.get());
  if (result > 0) return {bounds[0], bounds[1], true};
  if (result == PCRE2_ERROR_NOMATCH) return {text.size(), text.size(), !open};
  if (result == PCRE2_ERROR_PARTIAL) return {bounds[0], bounds[0], false};
  throw DataError(pattern.name + message_of(result) + " near \"" + std::string(text.substr(0, 40)) +
                  "\"; this text or this pattern cannot be tokenized");
}

}  // namespace saslm
