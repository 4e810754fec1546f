#pragma once

namespace saslm {

extern const char* const kModelingSource;  // modeling_saslm.py

}  // namespace saslm
