// Runs a comparison: plans and checks everything, then trains the missing runs.
//
//   DIR/comparison.json         the plan and the measured speeds, which a later start must match
//   DIR/runs/VARIANT_seedK/     ordinary run directories; all variants of one seed before the next seed
//   DIR/results.{json,csv,md}   after every run
//
// After a kill at any point, a restart trains only what is missing, and the results are bit-identical to an
// uninterrupted comparison, on any number of ranks. All ranks make the same calls; only rank 0 decides,
// writes and prints.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "compare/results.h"
#include "train/trainer.h"

namespace saslm {

class CompareObserver {
 public:
  virtual ~CompareObserver() = default;
  virtual void note(const std::string& /*line*/) {}
  virtual void warning(const std::string& /*line*/) {}
  // Called when run `number` of `total` starts; returns its observer.
  virtual std::unique_ptr<TrainObserver> watch(const std::string& /*run*/, int64_t /*number*/,
                                               int64_t /*total*/, int64_t /*steps*/) {
    return std::make_unique<TrainObserver>();
  }
};

struct CompareOutcome {
  TrainEnd end = TrainEnd::finished;
  CompareResults results;
};

struct CompareOptions {
  std::string dir;
  std::function<bool()> stop;       // polled after every step: whether to save and return
  int local_ranks = 1;              // ranks on this machine
  NameKernels name_kernels = {};    // as in TrainOptions,
  CheckKernels check_kernels = {};  // likewise
};

// ConfigError with the differences if `dir` contains another comparison. A diverged run is a result; every
// other error of a run ends the comparison. Only rank 0 has results.
template <class T>
CompareOutcome run_comparison(const CompareFile& file, const CompareOptions& options, const Ops<T>& ops,
                              CompareObserver& observer, const Communicator& comm = single_rank());

// Only the checks that run_comparison makes first.
template <class T>
ComparePlan check_comparison(const CompareFile& file, const CompareOptions& options, const Ops<T>& ops);

// Results so far, without training; works while another process trains.
template <class T>
CompareResults report_comparison(const CompareFile& file, const std::string& dir);

}  // namespace saslm
