// Recognises models of other programs by their files, for clear error messages.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace saslm {

// "a Hugging Face model (LlamaForCausalLM)" if a config.json is that of a Hugging Face model; else "".
std::string hugging_face_model(const nlohmann::json& config);

// Description of the Hugging Face or PyTorch model at `path`, a folder or file; "" if there is none. Never
// throws because of its content.
std::string foreign_model_at(const std::string& path);

// CheckpointError with that description and advice, if there is such a model.
void refuse_foreign_model(const std::string& path);

// Advice for messages.
std::string how_to_import();

}  // namespace saslm
