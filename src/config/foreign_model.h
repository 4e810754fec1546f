// Models of other programs, told by what lies in their folder, so that a command that meets one can say so.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace saslm {

// What a config.json says it is the config of, when that is a Hugging Face model and none of saslm's:
// "a Hugging Face model (LlamaForCausalLM)"; else "".
std::string hugging_face_model(const nlohmann::json& config);

// What lies at `path`, a folder or a file, of a Hugging Face or PyTorch model; "" when it is nothing of the
// kind. Never throws for what is there.
std::string foreign_model_at(const std::string& path);

// CheckpointError with that and what to do, when there is such a model.
void refuse_foreign_model(const std::string& path);

// What to do, for messages.
std::string how_to_import();

}  // namespace saslm
