// JSON text in, one JSON object out, strictly: what a run is described by must mean one thing only.
//
// Refused beyond what the grammar refuses: a key given twice, more than 64 levels, more than 16 MiB, a byte
// order mark, a zero byte, a number too large for a double. Syntax errors name line and column.
// Everything here throws ConfigError.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace saslm {

// The one object in the file. Messages do not repeat `path`, save when the file cannot be read at all.
nlohmann::json read_json_object(const std::string& path);
// The same of a config of ours: one of a Hugging Face model is refused as that.
nlohmann::json read_config_object(const std::string& path);

// A config that a user names may be a pipe (train <(jq ...)). One that lies in a folder of ours is a file: a
// pipe there would hang who opens it.
void require_file(const std::string& path);

// Sets, creates or replaces the node at a dotted path such as optim.lr; objects on the way are made.
void set_node(nlohmann::json& root, const std::string& path, nlohmann::json value);

// "a.b=c": sets, creates or replaces the node a.b. c is taken as JSON, or else as a plain string.
void apply_override(nlohmann::json& root, const std::string& argument);

// "/a/b", a JSON pointer, as the dotted path a.b.
std::string dotted(const std::string& pointer);

// For an unknown word: "; did you mean X? Valid here: ...", or without the question when none is near.
std::string advice(const std::string& key, const std::vector<std::string>& valid);
std::string describe(const nlohmann::json& value);  // for messages: "12" (a string)
std::string shorten(const std::string& text);  // for messages: its first characters, cut between two of them
bool is_utf8(const std::string& text);

}  // namespace saslm
