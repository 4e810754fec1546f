// Encodes with all stages: added tokens in the raw text, normalizer, added tokens in normalized text,
// inserted space, pre-tokenizer, merges. BpeTokenizer's own, simpler encoder serves byte-level tokenizers
// without normalizer and inserted spaces.
//
// A tokenizer that inserts a space before text also does so after a cut. So a cut is only made where that
// makes no difference:
//
//   SpacePrefix::segment   after a space, which the rest is then given again; and, since the library also
//                          inserts a space there, after added tokens
//   piece                  before a space; and, likewise, after added tokens
//   first                  before a space
//   any                    at the end of the text, and before anything that gets no space: an added token,
//                          or a byte that is not text
//
// and never between characters that the normalizer combines. Text without such a place is encoded as a whole.
#pragma once
#include "data/added_tokens.h"
#include "data/bpe_file.h"
#include "data/bpe_words.h"
#include "data/character_split.h"
#include "data/normalizer.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace saslm {

struct BpeParts {  // owned by the tokenizer
  const BpeFile& file;
  const BpeWords& words;
  const SplitPatterns& patterns;
  const CharacterSplit& characters;
  const AddedTokens& added;
};

class StagedEncoder : public Encoder {
 public:
  explicit StagedEncoder(const BpeParts& parts);
  size_t encode(std::string_view text, size_t until, bool open, std::vector<int32_t>& ids) override;

 private:
  // What precedes a run of text.
  enum class Before { nothing, token, stray_byte };

  // State of one encode() call: position, and the last cut so far.
  struct Progress {
    std::string_view text;
    size_t until;
    std::vector<int32_t>& ids;
    size_t cut = 0, ids_at_cut = 0;

    bool done() const { return cut >= until; }
    void cut_at(size_t at) { cut = at, ids_at_cut = ids.size(); }
  };
  struct Run {  // well-formed text, and its normalized form, in which added tokens and pieces are matched
    std::string_view raw;
    size_t offset;  // in the text
    Before before;
    bool open;  // more may follow
    const NormalizedText& normal;
  };

  // Text from `at` to `end` without raw added tokens. False when it stopped early.
  bool encode_segment(size_t at, size_t end, Before before, bool open, Progress& progress);
  bool encode_run(const Run& run, Progress& progress);
  // Encodes run.normal from `begin` to `end`, between added tokens. False if it stopped early.
  bool encode_piece(const Run& run, size_t begin, size_t end, bool open, Progress& progress);
  template <class Emit>
  size_t split(std::string_view text, bool open, size_t until, Emit&& emit);
  bool wants_space(const Run& run, std::string_view piece, size_t begin) const;
  bool starts_with_space(std::string_view text) const;
  // Records a cut at `at` of run.normal, if there is one.
  void try_cut(const Run& run, size_t at, bool behind_token, Progress& progress) const;
  size_t cut_before_space(const Run& run, size_t at) const;

  const BpeParts parts_;
  const BpeStages& stages_;
  PieceSplitter splitter_;
  WordEncoder words_;
};

}  // namespace saslm
