// A secret of one run's ranks, by which they know each other among all who may connect to their port.
//
// `saslm train --ranks` draws one and gives it to its ranks in the environment (SASLM_TOKEN), which no other
// user can read. Under another launcher there is none, unless the user gives all ranks the same.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace saslm {

using RunToken = std::array<std::byte, 16>;
constexpr const char* kTokenVariable = "SASLM_TOKEN";

RunToken draw_token();                 // from the kernel's random numbers; MachineError where it gives none
std::string text_of(const RunToken&);  // 32 hexadecimal digits
std::optional<RunToken> token_of(std::string_view text);

// In a time that tells nothing about how much of them is equal.
bool equal(const RunToken&, const RunToken&);

}  // namespace saslm
