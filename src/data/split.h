// The pre-tokenizer: cuts text into pieces, which byte-pair encoding then treats one by one.
//
// A chain of patterns. The first cuts the text into its matches and what lies between them; the next cuts
// every one of these in the same way, and so on. (Hugging Face `tokenizers`: Split with behaviour Isolated,
// Digits, and ByteLevel's own pattern.)
//
// Because no pattern looks behind (regex_dialect.h), a match depends only on the text from its start on. So
// cutting may stop, and start again later, at the end of any piece that is not part of an enclosing match: a
// *cut*.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace saslm {

struct SplitStep {
  std::string pattern;   // as the tokenizer file spells it
  bool literal = false;  // a plain text rather than an expression
};

class SplitPatterns {  // compiled; shared by all threads
 public:
  // DataError naming the file (`path`) and the pattern: not supported, not well-formed, or able to match
  // nothing.
  SplitPatterns(const std::string& path, const std::vector<SplitStep>& steps);
  ~SplitPatterns();

 private:
  friend class PieceSplitter;
  struct Pattern;
  std::vector<Pattern> patterns_;
};

class PieceSplitter {  // one thread's
 public:
  explicit PieceSplitter(const SplitPatterns& patterns);
  ~PieceSplitter();

  // Hands the pieces of `text`, which is well-formed UTF-8, to emit(std::string_view), in order, up to the
  // first cut at or after byte `until`; returns that cut, or the end of the text. When the text is `open`,
  // more may follow it: then it stops at the last cut that holds whatever follows. An
  // emit(std::string_view, bool) is told whether the piece's end is a cut.
  template <class Emit>
  size_t split(std::string_view text, bool open, size_t until, Emit&& emit) {
    return split_from(0, text, open, until, nullptr, emit);
  }

 private:
  struct Match {
    size_t begin, end;  // both text.size() when there is none
    bool certain;       // false: with more text there may be another match, from `begin` on
  };

  Match find(size_t step, std::string_view text, bool open);

  // `match_end`: of the match at an earlier step that encloses the text; nullptr when there is none.
  template <class Emit>
  size_t split_from(size_t step, std::string_view text, bool open, size_t until, const char* match_end,
                    Emit& emit) {
    if (step == n_steps_) {
      if (open) return 0;  // it may grow
      if constexpr (std::is_invocable_v<Emit, std::string_view, bool>) {
        emit(text, match_end == nullptr || match_end == text.data() + text.size());
      } else {
        emit(text);
      }
      return text.size();
    }
    size_t at = 0;
    while (at < text.size() && at < until) {
      const Match match = find(step, text.substr(at), open);
      if (match.begin > 0) {
        const size_t used =
            split_from(step + 1, text.substr(at, match.begin), !match.certain, until - at, match_end, emit);
        at += used;
        if (used < match.begin || at >= until) return at;
      }
      if (match.begin == match.end) return at;
      const std::string_view piece = text.substr(at, match.end - match.begin);
      split_from(step + 1, piece, false, std::string_view::npos,
                 match_end != nullptr ? match_end : piece.data() + piece.size(), emit);
      at += piece.size();
    }
    return at;
  }

  struct Scratch;
  const SplitPatterns& patterns_;
  size_t n_steps_;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace saslm
