// Recognises unsupported tokenizer files, so that the error says what they are and what to do instead.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

// Error text for a tokenizer.json whose model type is not BPE.
std::string why_not_read(const std::string& model_type);

// DataError if the file's name or first bytes are those of a SentencePiece model, a .tiktoken file or a
// vocab.txt.
void refuse_other_kinds(const std::string& path, std::string_view text);

// The name of a file in the folder that refuse_other_kinds refuses; "" if there is none.
std::string other_kind_in(const std::string& folder);

// DataError if the text starts with a byte order mark: the library and transformers refuse it, too.
void refuse_byte_order_mark(const std::string& path, std::string_view text);

}  // namespace saslm
