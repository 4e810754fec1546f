#include "export/import.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/safetensors_stream.h"
#include "config/model_block.h"
#include "core/error.h"
#include "core/file.h"
#include "export/folder.h"
#include "export/import_form.h"
#include "export/import_tokenizer.h"

namespace saslm {

ImportForm import_form(HfConfig& config, WeightFiles& weights) {
  const std::string type = config.word("model_type", "");
  if (type == "saslm")
    config.refuse("model_type",
                  "a transformers model (saslm reads this one directly: give the folder to eval, generate, "
                  "export or --init-from)");
  if (type != "llama" && type != "gpt2")
    config.refuse("model_type", "\"llama\" or \"gpt2\", whose models saslm computes exactly");
  const std::string whole = type == "llama" ? "LlamaForCausalLM" : "GPT2LMHeadModel",
                    headless = type == "llama" ? "LlamaModel" : "GPT2Model";
  const nlohmann::json* const classes = config.find("architectures");
  if (classes && *classes != nlohmann::json::array({whole}) && *classes != nlohmann::json::array({headless}))
    config.refuse("architectures", "[\"" + whole + "\"]");
  return type == "llama" ? import_llama(config, weights) : import_gpt2(config, weights);
}

ModelConfig checked_model(const HfConfig& config, const nlohmann::json& block) {
  try {
    return read_model_block(block);
  } catch (const ConfigError& error) {
    throw ConfigError(config.path() + ": as a saslm model: " + error.what());
  }
}

namespace {

// Checks that all tensors of the form exist with their shapes.
void check_present(const ImportForm& form, const WeightFiles& weights) {
  for (const Piece& piece : form.pieces) {
    const TensorInfo* const tensor = weights.find(piece.theirs);
    const std::string where = weights.where(piece.theirs);
    if (!tensor)
      throw CheckpointError(where + " is missing; wanted shape " + shape_text(piece.their_shape) +
                            ", from config.json");
    if (tensor->shape != piece.their_shape)
      throw CheckpointError(where + ": wanted shape " + shape_text(piece.their_shape) +
                            ", from config.json, got " + shape_text(tensor->shape));
    if (tensor->dtype != "F32" && tensor->dtype != "BF16" && tensor->dtype != "F16")
      throw CheckpointError(where + ": wanted F32, BF16 or F16, got " + tensor->dtype);
  }
}

void check_nothing_else(const ImportForm& form, const WeightFiles& weights) {
  std::set<std::string> known;
  for (const Piece& piece : form.pieces) known.insert(weights.find(piece.theirs)->name);
  if (!form.tied_head.empty()) known.insert(form.tied_head);
  std::vector<std::string> others;
  for (const std::string& name : weights.names()) {
    const auto ends_so = [&](const std::string& end) { return name.ends_with(end); };
    if (!known.contains(name) && std::none_of(form.buffers.begin(), form.buffers.end(), ends_so) &&
        std::none_of(form.dropped.begin(), form.dropped.end(), ends_so))
      others.push_back(name);
  }
  if (!others.empty())
    throw CheckpointError(
        weights.where(others[0]) + " is not part of the " + form.architecture +
        " that config.json describes" +
        (others.size() > 1 ? ", nor are " + std::to_string(others.size() - 1) + " others" : "") +
        "; saslm would ignore it");
}

// A tied head may also be in the file if it equals the embedding.
void check_tied(const ImportForm& form, const WeightFiles& weights) {
  if (form.tied_head.empty() || !weights.find(form.tied_head)) return;
  const auto embed = std::find_if(form.pieces.begin(), form.pieces.end(),
                                  [](const Piece& piece) { return piece.ours == "embed.weight"; });
  const std::vector<float> head = weights.read(form.tied_head), rows = weights.read(embed->theirs);
  if (head.size() != rows.size() || std::memcmp(head.data(), rows.data(), head.size() * sizeof(float)) != 0)
    throw CheckpointError(weights.where(form.tied_head) + " is not " + embed->theirs +
                          ", though config.json ties them (tie_word_embeddings); one of the two files "
                          "belongs to another model");
}

// Converts their tensors to ours one by one; keeps one of each in memory.
class PieceReader {
 public:
  PieceReader(const ImportForm& form, const WeightFiles& weights) : weights_(weights) {
    for (const Piece& piece : form.pieces) pieces_[piece.ours] = &piece;
  }

  std::span<const float> operator()(const ConstNamedTensor& tensor) {
    const Piece& piece = *pieces_.at(tensor.name);
    if (piece.theirs != held_) {
      theirs_ = weights_.read(piece.theirs);
      held_ = piece.theirs;
      check_finite(piece.theirs);
    }
    if (piece.turned) return turned(piece);
    return std::span(theirs_).subspan(size_t(piece.first), size_t(count(piece.shape)));
  }

  static int64_t count(const std::vector<int64_t>& shape) {
    int64_t n = 1;
    for (const int64_t size : shape) n *= size;
    return n;
  }

 private:
  std::span<const float> turned(const Piece& piece) {
    const size_t outs = size_t(piece.shape[0]), ins = size_t(piece.shape[1]),
                 all = size_t(piece.their_shape[1]);
    ours_.resize(outs * ins);
    for (size_t out = 0; out < outs; ++out)
      for (size_t in = 0; in < ins; ++in)
        ours_[out * ins + in] = theirs_[in * all + size_t(piece.first) + out];
    return ours_;
  }

  void check_finite(const std::string& name) const {
    const auto bad = std::find_if(theirs_.begin(), theirs_.end(), [](float x) { return !std::isfinite(x); });
    if (bad != theirs_.end())
      throw CheckpointError(weights_.where(name) + " has a value that is not finite at element " +
                            std::to_string(bad - theirs_.begin()) + ": the model is unusable");
  }

  const WeightFiles& weights_;
  std::map<std::string, const Piece*> pieces_;
  std::string held_;
  std::vector<float> theirs_, ours_;
};

void shorten_context(ImportForm& form, int64_t wanted) {
  if (wanted == 0) return;
  if (form.model.attention.position == PositionKind::learned)
    throw ConfigError("--max-seq-len: this model has learned positions, " +
                      std::to_string(form.model.max_seq_len) + " of them; leave it out");
  if (wanted > form.model.max_seq_len)
    throw ConfigError("--max-seq-len: wanted at most the model's " + std::to_string(form.model.max_seq_len) +
                      ", got " + std::to_string(wanted));
  form.model.max_seq_len = wanted;
}

std::string config_text(const ImportResult& result) {
  nlohmann::ordered_json config = {{"model", nlohmann::ordered_json::parse(to_json(result.model))}};
  if (!result.tokenizer.empty())
    config["data"] = {{"tokenizer", result.tokenizer},
                      {"tokenizer_fingerprint", result.tokenizer_fingerprint}};
  return config.dump(2) + "\n";
}

}  // namespace

ImportResult import_model(const ImportRequest& request) {
  const std::string out = absolute_folder(request.out);
  check_new_folder(out);
  HfConfig config(request.from);
  WeightFiles weights(request.from);
  ImportForm form = import_form(config, weights);
  config.check_rest();
  check_present(form, weights);
  check_nothing_else(form, weights);
  check_tied(form, weights);
  shorten_context(form, request.max_seq_len);
  const ImportedTokenizer tokenizer = import_tokenizer(request.from, out, form.model);

  ImportResult result{
      .out = out, .architecture = form.architecture, .model = form.model, .tokenizer = tokenizer.name};
  result.notes = tokenizer.notes;
  result.tokenizer_fingerprint = tokenizer.fingerprint;
  std::vector<ConstNamedTensor> tensors;
  for (const Piece& piece : form.pieces) {
    tensors.push_back({piece.ours, piece.shape, {}});
    result.parameters += PieceReader::count(piece.shape);
  }
  result.tensors = int64_t(tensors.size());
  result.files = write_folder(out, [&](const std::string& folder) {
    stream_safetensors(folder + "/model.safetensors", tensors, {{"format", "pt"}},
                       PieceReader(form, weights));
    atomic_write_file(folder + "/config.json", config_text(result));
    for (const auto& [name, text] : tokenizer.files) atomic_write_file(folder + "/" + name, text);
  });
  return result;
}

}  // namespace saslm
