// A profiler as NVTX knows them, the smallest there is: a library that NVTX_INJECTION64_PATH names. It
// appends a line to the file SASLM_NVTX_FILE for every range: "+ name" where it begins, "-" where it ends.
#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstdlib>

namespace {

int depth = 0;

void tell(const char* what, const char* name) {
  const char* const path = std::getenv("SASLM_NVTX_FILE");
  if (std::FILE* const file = path != nullptr ? std::fopen(path, "a") : nullptr) {
    std::fprintf(file, "%s%s\n", what, name);
    std::fclose(file);
  }
}
int push(const char* name) {
  tell("+ ", name);
  return depth++;
}
int pop() {
  tell("-", "");
  return --depth;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t tables) {
  const auto* const callbacks = static_cast<const NvtxExportTableCallbacks*>(tables(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable core = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &core, &size) ||
      size <= NVTX_CBID_CORE_RangePop)
    return 0;
  *core[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *core[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}
#endif
