// What to tell who gave a config a key that is none.
#pragma once
#include <string>
#include <vector>

namespace saslm {

// For `key` in the object at `block` ("": the whole config), whose keys are `valid`; follows the words
// "unknown key X".
//   "; did you mean lr? Valid here: kind, lr, ..."     a key of this object
//   "; did you mean optim.lr?"                         one that belongs elsewhere
//   ": nothing is dropped out here; remove it"         what saslm has not
//   ". Valid here: kind, lr, ..."                      nothing is near
std::string advice_on_key(const std::string& key, const std::string& block,
                          const std::vector<std::string>& valid);

// The whole path of the config's key that `word`, written without one, is or means; "" when it is none.
std::string config_key_of(const std::string& word);

}  // namespace saslm
