#include "checkpoint/json_strict.h"

#include <limits>
#include <set>
#include <vector>

#include "core/error.h"

namespace saslm {

using nlohmann::json;

json parse_json_strict(std::string_view text, const std::string& what, int max_depth) {
  std::vector<std::set<std::string>> keys;  // of the open objects
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    using Event = json::parse_event_t;
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= max_depth) {
      throw CheckpointError(what + ": nested more than " + std::to_string(max_depth) + " levels deep");
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      throw CheckpointError(what + ": the key '" + value.get<std::string>() + "' appears twice");
    }
    return true;
  };
  const size_t zero = text.find('\0');  // the library would stop there
  if (zero != text.npos)
    throw CheckpointError(what + " is not valid JSON: a zero byte at offset " + std::to_string(zero));
  try {
    return json::parse(text, watch);
  } catch (const json::exception& e) {
    std::string reason = e.what();  // begins with the library's "[json.exception....] "
    if (const size_t tag = reason.find("] "); tag != std::string::npos) reason.erase(0, tag + 2);
    throw CheckpointError(what + " is not valid JSON: " + reason);
  }
}

int64_t count_at(const json& object, const char* key, const std::string& what) {
  const auto found = object.find(key);
  const bool fits = found != object.end() && found->is_number_unsigned() &&
                    found->get<uint64_t>() <= uint64_t(std::numeric_limits<int64_t>::max());
  if (!fits)
    throw CheckpointError(what + ": wanted " + key + " as an integer, 0 .. 2^63-1, got " +
                          (found == object.end() ? "none" : found->dump()));
  return found->get<int64_t>();
}

}  // namespace saslm
