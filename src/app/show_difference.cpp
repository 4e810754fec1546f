#include "app/show_difference.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/terminal.h"
#include "core/printable.h"

namespace saslm {

namespace {

void print_alone(const StepsAlone& steps, const std::string& here, const std::string& there) {
  if (steps.within > 0)
    print("steps recorded in %s but not in %s: %lld, first step %lld\n", here.c_str(), there.c_str(),
          static_cast<long long>(steps.within), static_cast<long long>(steps.first));
  if (steps.beyond > 0)
    print("steps of %s outside the range of %s: %lld, not compared\n", here.c_str(), there.c_str(),
          static_cast<long long>(steps.beyond));
}

}  // namespace

nlohmann::ordered_json to_json(const StateDifference& d) {
  nlohmann::ordered_json j = {{"same", d.none()},
                              {"records_compared", d.steps_compared},
                              {"steps_only_in", {{"a", d.only_a.within}, {"b", d.only_b.within}}},
                              {"steps_beyond", {{"a", d.only_a.beyond}, {"b", d.only_b.beyond}}},
                              {"checkpoints_compared", d.checkpoints_compared},
                              {"first_record", nullptr},
                              {"tensors", nlohmann::ordered_json::array()}};
  if (d.metric)
    j["first_record"] = {{"step", d.metric->step},
                         {"event", d.metric->event},
                         {"field", d.metric->field},
                         {"a", d.metric->a},
                         {"b", d.metric->b}};
  for (const TensorDifference& t : d.tensors)
    j["tensors"].push_back({{"name", t.name},
                            {"differing", t.differing},
                            {"elements", t.elements},
                            {"first_index", t.first},
                            {"a", t.a},
                            {"b", t.b}});
  return j;
}

void print(const StateDifference& d, const std::string& path_a, const std::string& path_b) {
  const std::string a = printable(path_a), b = printable(path_b);
  if (d.none())
    print("bit-identical: %lld records and %zu checkpoints compared\n",
          static_cast<long long>(d.steps_compared), d.checkpoints_compared.size());
  print_alone(d.only_a, a, b);
  print_alone(d.only_b, b, a);
  if (d.metric)
    print("first differing record: %s %lld, %s: %s in %s, %s in %s\n", printable(d.metric->event).c_str(),
          static_cast<long long>(d.metric->step), printable(d.metric->field).c_str(),
          printable(d.metric->a).c_str(), a.c_str(), printable(d.metric->b).c_str(), b.c_str());
  if (d.tensors.empty()) return;
  print("first differing checkpoint: step %lld\n", static_cast<long long>(d.checkpoints_compared.back()));
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, d.tensors.size()); ++i) {
    const TensorDifference& t = d.tensors[i];
    print("  %-44s %lld of %lld elements differ, first at %lld: %.9g, %.9g\n", printable(t.name).c_str(),
          static_cast<long long>(t.differing), static_cast<long long>(t.elements),
          static_cast<long long>(t.first), double(t.a), double(t.b));
  }
  if (d.tensors.size() > kShown)
    print("  and %zu more tensors (--json lists all)\n", d.tensors.size() - kShown);
}

}  // namespace saslm
