#include "config/policy.h"

#include <map>
#include <optional>

#include "config/fields.h"

namespace saslm {
namespace {

using Policies = std::map<std::string, Policy>;

class PolicyVisitor {
 public:
  PolicyVisitor(Policies& all, std::string block, Policy of_block)
      : all_(all), block_(std::move(block)), of_block_(of_block) {}

  template <class T>
  void field(const char* key, T&& member, const Rule& rule) {
    Policy policy = of_block_;
    if (rule.on_resume != OnResume::inherited) policy.on_resume = rule.on_resume;
    if (rule.across_ranks != AcrossRanks::inherited) policy.across_ranks = rule.across_ranks;
    const std::string pointer = block_ + "/" + key;
    all_[pointer] = policy;
    visit_below(member, pointer, policy);
  }

 private:
  template <class T>
  void visit_below(T& member, const std::string& pointer, Policy policy) {
    if constexpr (JsonObject<T>) {
      PolicyVisitor below(all_, pointer, policy);
      visit_fields(below, member);
    }
  }
  template <class T>
  void visit_below(std::optional<T>&, const std::string& pointer, Policy policy) {
    T block;
    visit_below(block, pointer, policy);
  }
  template <class P>
  void visit_below(ProjectionBlock<P>&, const std::string& pointer, Policy policy) {
    P block;
    visit_below(block, pointer, policy);
  }

  Policies& all_;
  const std::string block_;
  const Policy of_block_;
};

Policies all_policies() {
  Policies all;
  Config config;
  PolicyVisitor visitor(all, "", Policy());
  visit_fields(visitor, config);
  return all;
}

}  // namespace

Policy policy_of(const std::string& pointer) {
  static const Policies all = all_policies();
  for (size_t end = pointer.size(); end != std::string::npos && end > 0; end = pointer.rfind('/', end - 1))
    if (const auto found = all.find(pointer.substr(0, end)); found != all.end()) return found->second;
  return {};
}

}  // namespace saslm
