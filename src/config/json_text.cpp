#include "config/json_text.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <vector>

#include "config/foreign_model.h"
#include "config/json_dialect.h"
#include "core/error.h"
#include "core/nearest.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr size_t kMaxBytes = size_t{16} << 20;
constexpr int kMaxDepth = 64;
constexpr size_t kMaxQuoted = 200;  // characters of foreign text in one message

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

void refuse_folder(const std::string& path) {
  std::error_code unknown;
  if (!std::filesystem::is_directory(path, unknown)) return;
  const std::string what = foreign_model_at(path);
  throw ConfigError(what.empty() ? "this is a folder; wanted a config file of JSON"
                                 : "this is " + what + "; wanted a saslm config file. " + how_to_import());
}

std::string read_text(const std::string& path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (!file && errno == ENOMEM) throw std::bad_alloc();
  if (!file) throw ConfigError("cannot open this config file: " + std::string(std::strerror(errno)));
  refuse_folder(path);
  std::string text;
  std::vector<char> chunk(size_t{1} << 16);
  while (const size_t count = std::fread(chunk.data(), 1, chunk.size(), file.get())) {
    text.append(chunk.data(), count);
    if (text.size() > kMaxBytes) throw ConfigError("larger than 16 MiB; this is not a config file");
  }
  if (std::ferror(file.get()))
    throw ConfigError("cannot read this config file: " + std::string(std::strerror(errno)));
  return text;
}

// Checks every key and bracket during parsing, and refuses what the library accepts.
class Guard {
 public:
  void see(int depth, json::parse_event_t event, const json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth >= kMaxDepth)
          throw ConfigError("nested more than " + std::to_string(kMaxDepth) + " levels at " +
                            shorten(path()));
        levels_.emplace_back();
        break;
      case json::parse_event_t::key:
        levels_.back().key = parsed.get<std::string>();
        if (!levels_.back().seen.insert(levels_.back().key).second)
          throw ConfigError(shorten(path()) + ": this key is given twice; remove one");
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        levels_.pop_back();
        break;
      case json::parse_event_t::value:
        break;
    }
  }

  std::string path() const {
    std::string path;
    for (const Level& level : levels_) path += (path.empty() || level.key.empty() ? "" : ".") + level.key;
    return path;
  }

 private:
  struct Level {
    std::string key;  // the one being parsed; stays empty inside an array
    std::set<std::string> seen;
  };
  std::vector<Level> levels_;
};

// The library's message without its "[json.exception....] " tag.
std::string reason(const json::exception& error) {
  const std::string text = error.what();
  const size_t tag_end = text.find("] ");
  return shorten(tag_end == std::string::npos ? text : text.substr(tag_end + 2));
}

json parse_guarded(const std::string& text) {
  const size_t zero = text.find('\0');  // the library would stop there
  if (zero != std::string::npos)
    throw ConfigError("a zero byte at offset " + std::to_string(zero) + "; this is not text");
  Guard guard;
  try {
    return json::parse(text, [&](int depth, json::parse_event_t event, json& parsed) {
      guard.see(depth, event, parsed);
      return true;
    });
  } catch (const json::out_of_range& error) {
    const std::string path = shorten(guard.path());
    throw ConfigError((path.empty() ? "" : path + ": ") + reason(error) + "; wanted a finite number");
  }
}

}  // namespace

std::string advice(const std::string& key, const std::vector<std::string>& valid) {
  std::string list;
  for (const std::string& other : valid) list += (list.empty() ? "" : ", ") + other;
  const std::optional<std::string> meant = nearest(key, valid);
  return (meant ? "; did you mean " + *meant + "? " : ". ") + "Valid here: " + list;
}

std::string shorten(const std::string& text) {
  if (text.size() <= kMaxQuoted) return text;
  size_t end = kMaxQuoted;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

bool is_utf8(const std::string& text) {
  using Handler = json::error_handler_t;  // the two differ only for invalid UTF-8
  return json(text).dump(-1, ' ', false, Handler::replace) ==
         json(text).dump(-1, ' ', false, Handler::ignore);
}

std::string describe(const json& value) {
  const std::string text = shorten(value.dump(-1, ' ', false, json::error_handler_t::replace));
  switch (value.type()) {
    case json::value_t::object:
      return text + " (an object)";
    case json::value_t::array:
      return text + " (a list)";
    case json::value_t::string:
      return text + " (a string)";
    case json::value_t::boolean:
      return text + " (a boolean)";
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
      return text + " (an integer)";
    case json::value_t::number_float:
      return text + " (a floating-point number)";
    default:
      return text;
  }
}

json read_json_object(const std::string& path) {
  const std::string text = read_text(path);
  if (text.empty()) throw ConfigError("this config file is empty; wanted one JSON object");
  if (text.starts_with("\xEF\xBB\xBF"))
    throw ConfigError("begins with a byte order mark; save it as UTF-8 without one");
  try {
    json root = parse_guarded(text);
    if (!root.is_object()) throw ConfigError("wanted one JSON object, got " + describe(root));
    return root;
  } catch (const json::parse_error& error) {
    const std::string dialect = dialect_of(text);
    throw ConfigError(dialect.empty() ? reason(error) : dialect);
  }
}

json read_config_object(const std::string& path) {
  json root = read_json_object(path);
  if (const std::string what = hugging_face_model(root); !what.empty())
    throw ConfigError("this is the config of " + what + ", not of saslm; " + how_to_import());
  return root;
}

void require_file(const std::string& path) {
  std::error_code unknown;
  const auto status = std::filesystem::status(path, unknown);
  const bool told_by_opening = !exists(status) || is_directory(status);
  if (!told_by_opening && !is_regular_file(status)) throw ConfigError("not a regular file");
}

std::string dotted(const std::string& pointer) {
  std::string path = pointer.substr(1);
  std::replace(path.begin(), path.end(), '/', '.');
  return path;
}

void set_node(json& root, const std::string& path, json value) {
  json* node = &root;
  for (size_t begin = 0, depth = 0; begin <= path.size(); ++depth) {
    const size_t end = std::min(path.find('.', begin), path.size());
    if (end == begin) throw ConfigError("wanted a key such as optim.lr, got \"" + shorten(path) + "\"");
    if (depth >= kMaxDepth) throw ConfigError("more than " + std::to_string(kMaxDepth) + " levels");
    if (!node->is_object())
      throw ConfigError(shorten(path.substr(0, begin - 1)) + " cannot hold a key: it is " + describe(*node));
    node = &node->emplace(path.substr(begin, end - begin), json::object()).first.value();  // found or made
    begin = end + 1;
  }
  *node = std::move(value);
}

void apply_override(json& root, const std::string& argument) {
  try {
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) throw ConfigError("wanted KEY=VALUE such as optim.lr=3e-4, got no '='");
    const std::string text = argument.substr(equals + 1);
    if (!is_utf8(text)) throw ConfigError("the value is not UTF-8 text");
    json value = text;
    try {
      value = parse_guarded(text);
    } catch (const json::parse_error&) {  // it stays a plain string
    }
    set_node(root, argument.substr(0, equals), std::move(value));
  } catch (const ConfigError& error) {
    throw ConfigError("--set " + shorten(argument) + ": " + error.what());
  }
}

}  // namespace saslm
