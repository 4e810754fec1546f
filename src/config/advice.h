// Suggestions for unknown config keys.
#pragma once
#include <string>
#include <vector>

namespace saslm {

// Text to append to "unknown key X", for `key` in the object at `block` ("": the whole config), whose valid
// keys are `valid`.
//   "; did you mean lr? Valid here: kind, lr, ..."     a key of this object
//   "; did you mean optim.lr?"                         one that belongs elsewhere
//   ": there is no dropout; remove it"                 what saslm lacks
//   ". Valid here: kind, lr, ..."                      nothing is near
std::string advice_on_key(const std::string& key, const std::string& block,
                          const std::vector<std::string>& valid);

// The full path of the config key that `word` is or means; "" if there is none.
std::string config_key_of(const std::string& word);

}  // namespace saslm
