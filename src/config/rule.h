// What is known of one config key besides its name and type.
#pragma once
#include <limits>

namespace saslm {

// What a resumed run does where this key's value is not the checkpoint's.
enum class OnResume {
  inherited,  // what the key's block does
  same,       // refuses: it decides the model, the order of the data or the size of a step
  reported,   // goes on and reports the change: the run's numbers change from here
  free,       // goes on: no number of the training changes
};

// Whether ranks of one run may have different values of it.
enum class AcrossRanks { inherited, same, free };

struct Rule {
  const char* help;  // the key's only description: users see it, contributors read it here
  double min = -std::numeric_limits<double>::infinity(), max = std::numeric_limits<double>::infinity();
  bool below_max = false;     // max itself is refused
  bool required = false;      // there is no default
  bool required_now = false;  // required for the current `kind`; the schema makes it conditional
  bool applies = true;        // false: refused for the current `kind`
  const char* refusal = "";   // message if the key is given although it does not apply
  bool written = true;        // false: follows from keys that are written
  OnResume on_resume = OnResume::inherited;
  AcrossRanks across_ranks = AcrossRanks::inherited;
};

}  // namespace saslm
