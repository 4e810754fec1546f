// Encodes with all stages: added tokens in the raw text, normalizer, added tokens in normalized text, a space
// before it, pre-tokenizer, merges. BpeTokenizer's own encoder does the same for tokenizers that neither
// normalize nor put spaces nor have words of characters, without the bookkeeping.
//
// Where a tokenizer puts a space before text, it does before what follows a cut as well. So a cut lies only
// where that makes no difference:
//
//   SpacePrefix::segment   behind a space, which is left to be put before the rest; and where the library
//   puts
//                          one in the middle of a text too: behind added tokens
//   piece                  before a space; and, as above, behind added tokens
//   first                  before a space
//   any                    at the text's end, and before what gets no space: an added token, or a byte that
//   is
//                          no text
//
// and never between characters that the normalizer treats as one. Text that has no such place is encoded as a
// whole.
#pragma once
#include "data/added_tokens.h"
#include "data/bpe_file.h"
#include "data/bpe_words.h"
#include "data/character_split.h"
#include "data/normalizer.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace saslm {

struct BpeParts {  // of a tokenizer, which owns them
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
  // What comes before a run of text.
  enum class Before { nothing, token, stray_byte };

  // One call of encode(): how far it is, and the last cut so far.
  struct Progress {
    std::string_view text;
    size_t until;
    std::vector<int32_t>& ids;
    size_t cut = 0, ids_at_cut = 0;

    bool done() const { return cut >= until; }
    void cut_at(size_t at) { cut = at, ids_at_cut = ids.size(); }
  };
  struct Run {  // of well-formed text, in whose normalized form added tokens and pieces are found
    std::string_view raw;
    size_t offset;  // in the text
    Before before;
    bool open;  // more may follow
    const NormalizedText& normal;
  };

  // Text from `at` to `end` without raw added tokens. False when it stopped early.
  bool encode_segment(size_t at, size_t end, Before before, bool open, Progress& progress);
  bool encode_run(const Run& run, Progress& progress);
  // run.normal from `begin` to `end`, which lies between added tokens. False when it stopped early.
  bool encode_piece(const Run& run, size_t begin, size_t end, bool open, Progress& progress);
  template <class Emit>
  size_t split(std::string_view text, bool open, size_t until, Emit&& emit);
  bool wants_space(const Run& run, std::string_view piece, size_t begin) const;
  bool starts_with_space(std::string_view text) const;
  // Notes a cut at `at` of run.normal, if there is one.
  void try_cut(const Run& run, size_t at, bool behind_token, Progress& progress) const;
  size_t cut_before_space(const Run& run, size_t at) const;

  const BpeParts parts_;
  const BpeStages& stages_;
  PieceSplitter splitter_;
  WordEncoder words_;
};

}  // namespace saslm
