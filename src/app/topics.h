// The texts of `saslm help TOPIC`, from the embedded topics.txt.
#pragma once
#include <string>
#include <vector>

namespace saslm {

extern const char* const kTopicsText;  // topics.txt

struct Topic {
  std::string name, summary, text;  // the text ends with a newline
};

// In file order; a topic starts with a line "= NAME: SUMMARY".
std::vector<Topic> topics();

const Topic* find_topic(const std::vector<Topic>& all, const std::string& name);  // nullptr if there is none

}  // namespace saslm
