// The pre-tokenizer: splits text into pieces, which byte-pair encoding handles one by one.
//
// A chain of patterns. The first splits the text into its matches and the text between them; the next splits
// each of these in the same way, and so on. (Hugging Face `tokenizers`: Split with behaviour Isolated,
// Digits, and ByteLevel's own pattern.)
//
// No pattern looks behind (regex_dialect.h), so a match depends only on the text from its start. Splitting
// may therefore stop and restart at the end of any piece that is not part of an enclosing match: a *cut*.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace saslm {

struct SplitStep {
  std::string pattern;   // as in the tokenizer file
  bool literal = false;  // plain text instead of a regular expression
};

class SplitPatterns {  // compiled; shared by all threads
 public:
  // DataError with the file (`path`) and the pattern, if it is unsupported, malformed, or can match the empty
  // string.
  SplitPatterns(const std::string& path, const std::vector<SplitStep>& steps);
  ~SplitPatterns();

 private:
  friend class PieceSplitter;
  struct Pattern;
  std::vector<Pattern> patterns_;
};

class PieceSplitter {  // for one thread
 public:
  explicit PieceSplitter(const SplitPatterns& patterns);
  ~PieceSplitter();

  // Calls emit(std::string_view) with the pieces of `text` (well-formed UTF-8) in order, up to the first cut
  // at or after byte `until`; returns that cut, or the end of the text. If the text is `open`, more may
  // follow it; then stops at the last cut that is valid whatever follows. The bool of emit(std::string_view,
  // bool) says whether the piece ends at a cut.
  template <class Emit>
  size_t split(std::string_view text, bool open, size_t until, Emit&& emit) {
    return split_from(0, text, open, until, nullptr, emit);
  }

 private:
  struct Match {
    size_t begin, end;  // both text.size() if there is none
    bool certain;       // false: with more text there may be another match from `begin`
  };

  Match find(size_t step, std::string_view text, bool open);

  // `match_end`: end of the enclosing match of an earlier step; nullptr if there is none.
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
