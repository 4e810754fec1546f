// Checks sampled results of attention with the plain formula in double: the first, the last and random rows
// of every output.
#pragma once
#include "check/accuracy.h"
#include "check/image.h"

namespace saslm {

// `in` and `out`: memory before and after the call. "" if all sampled results are correct.
template <class T>
std::string wrong_rows(const AttentionFwd<T>& in, const AttentionFwd<T>& out);
template <class T>
std::string wrong_rows(const AttentionBwd<T>& in, const AttentionBwd<T>& out);

}  // namespace saslm
