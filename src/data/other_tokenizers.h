// Tokenizer files that are not read, recognised so that the error says what they are and what to do instead.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

// Why a tokenizer.json whose model is of another type than BPE is refused, and what to do instead.
std::string why_not_read(const std::string& model_type);

// DataError when the file's name or first bytes are those of a SentencePiece model, a .tiktoken file or a
// vocab.txt.
void refuse_other_kinds(const std::string& path, std::string_view text);

// The name of a file in the folder that refuse_other_kinds refuses; "" when there is none.
std::string other_kind_in(const std::string& folder);

// DataError when the text begins with one: the library and transformers do not read such a file either.
void refuse_byte_order_mark(const std::string& path, std::string_view text);

}  // namespace saslm
