#include "ptx/machine/tests/fixture.h"

#include <algorithm>
#include <bit>
#include <cinttypes>

#include "ptx/machine/program/module.h"

namespace ptx {
namespace {

constexpr const char* kHead = R"(
.visible .entry test(.param .u64 out, .param .u64 in)
{
  .reg .b32 %r<64>;
  .reg .b64 %rd<32>, %at<4>;
  .reg .f32 %f<16>;
  .reg .f64 %d<8>;
  .reg .b16 %h<16>;
  .reg .pred %p<8>;
  .reg .b32 %own<4>;
  ld.param.u64 %rd0, [out];
  ld.param.u64 %rd1, [in];
  mov.u32 %r0, %tid.x;
  mov.u32 %own0, %ctaid.x;
  mov.u32 %own1, %ntid.x;
  mad.lo.u32 %own2, %own0, %own1, %r0;
  mul.wide.u32 %at0, %own2, 4;
  add.s64 %at1, %rd0, %at0;
)";
constexpr const char* kTail = R"(
  st.global.u32 [%at1], %r63;
  ret;
}
)";

struct alignas(128) Line {  // so that sectors can be counted
  uint32_t words[32];
  Line() { std::fill(std::begin(words), std::end(words), 0xffffffffu); }
};

std::string text_of(const std::string& body, const std::string& before) {
  return ".version 8.0\n.target sm_90a\n.address_size 64\n" + before + kHead + body + kTail;
}

}  // namespace

Outcome run_body(const std::string& body, const Conditions& conditions) {
  Machine machine;
  machine.settings = conditions.settings;
  machine.findings = Findings(nullptr);
  Outcome o;
  const size_t words = size_t(conditions.threads) * conditions.blocks + 64;
  std::vector<Line> out((words + 31) / 32);
  std::vector<uint32_t> in = conditions.in;
  const void* const params[] = {out.data(), in.data()};
  machine.allocations.add(out.data(), words * 4);
  machine.allocations.add(in.data(), in.size() * 4);
  Module module(text_of(body, conditions.before));
  for (const auto& [at, bytes] : module.variables()) machine.allocations.add(at, bytes);
  Launch launch;
  launch.kernel = module.kernel("test");
  launch.grid.x = conditions.blocks;
  launch.block.x = conditions.threads;
  launch.dynamic_shared = conditions.dynamic_shared;
  launch.params = reinterpret_cast<const uint8_t*>(params);
  launch.param_bytes = sizeof params;
  try {
    run(machine, launch);
    o.profile = machine.profiles.begin()->second;
  } catch (const Fault& e) {
    o.fault = e.what();
  }
  o.out.resize(words);
  std::memcpy(o.out.data(), out.data(), words * 4);
  for (const Finding& f : machine.findings.all()) {
    o.findings.push_back(f.kind);
    o.details.push_back(f.detail + " | " + f.text);
  }
  return o;
}

std::string decoding_error(const std::string& body) {
  try {
    Module(text_of(body, "")).kernel("test");
  } catch (const Unreadable& e) {
    return e.what();
  }
  return "";
}

std::vector<uint32_t> lanes_of(const std::string& body, const Conditions& conditions) {
  Outcome o = run_body(body, conditions);
  EXPECT_EQ(o.fault, "");
  EXPECT_THAT(o.findings, testing::IsEmpty());
  o.out.resize(size_t(conditions.threads) * conditions.blocks);
  return o.out;
}

uint32_t value_of(const std::string& body, const Conditions& conditions) {
  return lanes_of(body, conditions).at(0);
}

uint64_t value64_of(const std::string& body, const Conditions& conditions) {
  const uint64_t low = value_of(body + "mov.b64 {%r63, _}, %rd31;", conditions);
  return low | uint64_t(value_of(body + "mov.b64 {_, %r63}, %rd31;", conditions)) << 32;
}

float float_of(const std::string& body) {
  return std::bit_cast<float>(value_of(body + "mov.b32 %r63, %f15;"));
}

double double_of(const std::string& body) {
  return std::bit_cast<double>(value64_of(body + "mov.b64 %rd31, %d7;"));
}

std::string bits(float f) {
  char text[16];
  std::snprintf(text, sizeof text, "0f%08" PRIx32, std::bit_cast<uint32_t>(f));
  return text;
}

std::string bits(double d) {
  char text[24];
  std::snprintf(text, sizeof text, "0d%016" PRIx64, std::bit_cast<uint64_t>(d));
  return text;
}

}  // namespace ptx
