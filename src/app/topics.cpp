#include "app/topics.h"

#include <algorithm>
#include <sstream>

#include "core/error.h"

namespace saslm {

std::vector<Topic> topics() {
  std::vector<Topic> all;
  std::istringstream lines{kTopicsText};
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("= ")) {
      check(!all.empty(), "topics.txt begins with a topic");
      all.back().text += line + "\n";
      continue;
    }
    const size_t colon = line.find(": ");
    check(colon != std::string::npos, "a topic has a name and a summary");
    all.push_back({.name = line.substr(2, colon - 2), .summary = line.substr(colon + 2)});
  }
  for (Topic& topic : all)
    while (topic.text.ends_with("\n\n")) topic.text.pop_back();
  return all;
}

const Topic* find_topic(const std::vector<Topic>& all, const std::string& name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Topic& t) { return t.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace saslm
