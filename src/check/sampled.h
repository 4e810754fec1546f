// Single results of attention, by the plain formula in double: rows of every output, the first, the last, and
// others drawn.
#pragma once
#include "check/accuracy.h"
#include "check/image.h"

namespace saslm {

// in and out: the call on the memory before it and after it. "" where all that is looked at is right.
template <class T>
std::string wrong_rows(const AttentionFwd<T>& in, const AttentionFwd<T>& out);
template <class T>
std::string wrong_rows(const AttentionBwd<T>& in, const AttentionBwd<T>& out);

}  // namespace saslm
