#include "ptx/machine/run/profile.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ptx/machine/run/machine.h"

namespace ptx {
namespace {

constexpr const char* kClassNames[size_t(Class::count)] = {
    "mma", "ldmatrix",  "ld.shared", "st.shared", "ld.global", "st.global", "cp.async",
    "ex2", "sfu",       "fma",       "float",     "double",    "int",       "shfl/vote",
    "bar", "warp.sync", "branch",    "atom",      "local",     "other"};
constexpr size_t kGridsShown = 6, kTrafficShown = 3, kConflictsShown = 4;
constexpr double kSectorBytes = 32;

// file:line of the source, and the operation
std::string short_place(const Kernel& k, const Instr& in) {
  const std::string at = place(k, in);
  const std::string& text = k.text[size_t(k.index_of(in))];
  const size_t comma = at.find(',');
  return (comma == std::string::npos ? at : at.substr(comma + 2)) + " " +
         text.substr(0, text.find_first_of(" \t"));
}

using Places = std::vector<std::pair<uint64_t, std::string>>;

void write_places(std::FILE* f, Places places, size_t shown, double blocks, const char* format) {
  std::sort(places.rbegin(), places.rend());
  for (size_t i = 0; i < places.size() && i < shown; ++i)
    std::fprintf(f, format, double(places[i].first) / blocks, places[i].second.c_str());
}

void write_traffic(std::FILE* f, const Profile& p) {
  uint64_t sectors = 0, wanted = 0;
  Places wasted;
  for (const auto& [at, t] : p.traffic) {
    sectors += t.sectors;
    wanted += t.wanted;
    const auto bytes = uint64_t(kSectorBytes) * t.sectors;
    if (bytes > t.wanted) wasted.push_back({bytes - t.wanted, at});
  }
  const auto blocks = double(p.blocks);
  if (sectors != 0)
    std::fprintf(f, "    global bytes asked for: %.0f a block, %.2f of what their sectors hold\n",
                 double(wanted) / blocks, double(wanted) / (double(sectors) * kSectorBytes));
  write_places(f, std::move(wasted), kTrafficShown, blocks, "    sector bytes beyond: %.0f a block: %s\n");
}

void write(std::FILE* f, const std::string& name, const Profile& p, const Settings& s) {
  const auto blocks = double(p.blocks);
  std::fprintf(f, "KERNEL %s\n  arch sm_%d launches %llu blocks %llu threads %u shared %u seconds %.2f grids",
               name.c_str(), s.architecture, static_cast<unsigned long long>(p.launches),
               static_cast<unsigned long long>(p.blocks), p.threads, p.shared, p.seconds);
  size_t shown = 0;
  for (const auto& grid : p.grids) {
    std::fprintf(f, " %s", shown < kGridsShown ? grid.c_str() : "...");
    if (shown++ == kGridsShown) break;
  }
  std::fprintf(f, "\n  warp instructions a block: total %.0f", double(p.total) / blocks);
  for (size_t c = 0; c < size_t(Class::count); ++c)
    if (p.counts[c] != 0) std::fprintf(f, ", %s %.1f", class_name(Class(c)), double(p.counts[c]) / blocks);
  if (s.conflicts)
    std::fprintf(f, ", shared conflicts %.1f, global sectors %.1f", double(p.conflicts) / blocks,
                 double(p.sectors) / blocks);
  std::fprintf(f, "\n");
  write_traffic(f, p);
  Places worst;
  for (const auto& [at, n] : p.conflict_places) worst.push_back({n, at});
  write_places(f, std::move(worst), kConflictsShown, blocks, "    conflicts %.1f a block: %s\n");
}

}  // namespace

const char* class_name(Class c) {
  return kClassNames[size_t(c)];
}

void Profile::add(const Block& b, double took_seconds) {
  ++launches;
  blocks += b.grid.count();
  threads = uint32_t(b.threads);
  shared = b.k->static_shared - kSharedBase + b.dynamic_bytes;
  grids.insert("(" + std::to_string(b.grid.x) + "," + std::to_string(b.grid.y) + "," +
               std::to_string(b.grid.z) + ")");
  seconds += took_seconds;
  for (const Instr& in : b.k->code) {
    counts[size_t(in.counted)] += in.executed;
    total += in.executed;
    conflicts += in.conflicts;
    sectors += in.sectors;
    if (in.conflicts != 0) conflict_places[short_place(*b.k, in)] += in.conflicts;
    if (in.sectors != 0) {
      Traffic& t = traffic[short_place(*b.k, in)];
      t.sectors += in.sectors;
      t.wanted += in.wanted;
    }
    in.executed = in.conflicts = in.sectors = in.wanted = 0;
  }
}

void write_profiles(const Machine& machine) {
  const std::string& path = machine.settings.profile;
  if (path.empty()) return;
  std::FILE* f = path == "-" ? stderr : std::fopen(path.c_str(), "a");
  if (f == nullptr) {
    std::fprintf(stderr, "PTX_PROFILE: %s cannot be written\n", path.c_str());
    return;
  }
  for (const auto& [name, p] : machine.profiles) write(f, name, p, machine.settings);
  for (const Finding& r : machine.findings.all())
    std::fprintf(f, "FINDING %s x%llu: %s\n  kernel %s\n  at %s\n  %s\n", r.kind.c_str(),
                 static_cast<unsigned long long>(r.times), r.detail.c_str(), r.kernel.c_str(),
                 r.where.c_str(), r.text.c_str());
  if (f != stderr) std::fclose(f);
}

}  // namespace ptx
