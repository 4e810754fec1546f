#include "check/verdicts.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "checkpoint/hash.h"
#include "core/file.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;  // another where what is checked, or how, has changed: kept verdicts are then void
constexpr int64_t kMaxBytes = 1 << 20;

json as_json(const VerdictKey& key) {
  json all = {{"format", kFormat}};
  for (const auto& [name, value] : key) all[name] = value;
  return all;
}

}  // namespace

std::string verdict_folder() {
  const auto of = [](const char* variable) {
    const char* const text = std::getenv(variable);
    return std::string(text != nullptr && text[0] == '/' ? text : "");  // a relative one is to be ignored
  };
  if (const std::string cache = of("XDG_CACHE_HOME"); !cache.empty()) return cache + "/saslm/selfcheck";
  const std::string home = of("HOME");
  return home.empty() ? "" : home + "/.cache/saslm/selfcheck";
}

Verdicts::Verdicts(std::string folder, VerdictKey key) : folder_(std::move(folder)), key_(std::move(key)) {
  if (!folder_.empty()) path_ = folder_ + "/" + hash_hex(bytes_of(as_json(key_).dump())) + ".json";
}

std::optional<Verdicts::Kept> Verdicts::find() const {
  if (path_.empty() || !path_exists(path_)) return {};
  try {
    const json all = json::parse(read_file(path_, kMaxBytes));
    if (all.at("of") != as_json(key_)) return {};
    Kept kept{.unfinished = all.at("unfinished").get<bool>()};
    kept.verdict.calls = all.at("calls").get<int64_t>();
    kept.verdict.seconds = all.at("seconds").get<double>();
    kept.verdict.kept = true;
    for (const json& w : all.at("wrong"))
      kept.verdict.wrong.push_back({w.at("kernel").get<std::string>(), w.at("call").get<std::string>(),
                                    w.at("why").get<std::string>()});
    return kept;
  } catch (const std::exception&) {  // not ours, or torn: as if there were none
    return {};
  }
}

void Verdicts::keep(const KernelVerdict& verdict, bool unfinished) const {
  if (path_.empty()) return;
  json wrong = json::array();
  for (const KernelVerdict::Wrong& w : verdict.wrong)
    wrong.push_back({{"kernel", w.kernel}, {"call", w.call}, {"why", w.why}});
  const json all = {{"of", as_json(key_)},
                    {"calls", verdict.calls},
                    {"seconds", verdict.seconds},
                    {"unfinished", unfinished},
                    {"wrong", wrong}};
  try {
    make_dirs(folder_);
    atomic_write_file(path_, all.dump(2) + "\n");
  } catch (const std::exception&) {  // a cache: the next start checks again
  }
}

}  // namespace saslm
