// The SAS simulation on tensor cores for sizes of run time: what sas_fwd and sas_bwd take where no tile is
// compiled for a shape, or none fits the card.
#pragma once
#include "core/bf16.h"
#include "kernels/sas.h"

namespace saslm::cuda {

// Of shapes that SasWideLayout::takes, within the device's shared memory.
void sas_fwd_wide(Stream, const SasFwd<bf16>&);
// Leaves the sums of every partition in a.partial.
void sas_bwd_wide(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
