// Input: a config file that did not parse.
#include <nlohmann/json.hpp>

#include "config/json_dialect.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_dialect {

bool run(std::string_view input) {
  const std::string text(input);
  const std::string what = dialect_of(text);
  require(what.empty() || !nlohmann::json::accept(text), "plain JSON is not called anything else");
  return !what.empty();
}

std::vector<std::string> seeds() {
  return {"{\n// mine\n\"a\": 1}", "[1, 2, /* a\nb */ ]", "{\"a\": \"// no \\\" comment\", # yes\n}"};
}

}  // namespace of_dialect

const Target kDialect = {"dialect", of_dialect::run, of_dialect::seeds, {"//", "/*", "*/", "#", ",}", ",]"}};

}  // namespace saslm::fuzz
