// Input: a config file that did not parse.
#include <nlohmann/json.hpp>

#include "config/json_dialect.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace {

bool run(std::string_view input) {
  const std::string text(input);
  const std::string what = dialect_of(text);
  require(what.empty() || !nlohmann::json::accept(text), "plain JSON is not called anything else");
  return !what.empty();
}

std::vector<std::string> seeds() {
  return {"{\n// mine\n\"a\": 1}", "[1, 2, /* a\nb */ ]", "{\"a\": \"// no \\\" comment\", # yes\n}"};
}

}  // namespace

const Target kDialect = {"dialect", run, seeds, {"//", "/*", "*/", "#", ",}", ",]"}};

}  // namespace saslm::fuzz
