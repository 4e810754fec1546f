// What `saslm help TOPIC` shows: the texts of topics.txt, which is in the program.
#pragma once
#include <string>
#include <vector>

namespace saslm {

extern const char* const kTopicsText;  // topics.txt

struct Topic {
  std::string name, summary, text;  // the text ends with a line break
};

// In the order of the file, in which a topic begins with a line "= NAME: SUMMARY".
std::vector<Topic> topics();

const Topic* find_topic(const std::vector<Topic>& all, const std::string& name);  // nullptr: there is none

}  // namespace saslm
