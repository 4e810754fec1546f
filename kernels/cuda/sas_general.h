// The SAS simulation for any sizes and both types, without tensor cores: what sas_fwd and sas_bwd fall back
// to.
#pragma once
#include "kernels/sas.h"

namespace saslm::cuda {

template <class T>
void sas_fwd_general(Stream, const SasFwd<T>&);

// Leaves the sums of every partition in a.partial.
template <class T>
void sas_bwd_general(Stream, const SasBwd<T>&);

}  // namespace saslm::cuda
