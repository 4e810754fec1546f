// A comparison from its file to its results: plan and check everything, then do the runs that are missing.
//
//   DIR/comparison.json               what was begun, and measured speeds: a later start is held to it
//   DIR/runs/VARIANT_seedK/           an ordinary run directory each; seed by seed, all variants of one first
//   DIR/results.{json,csv,md}         after every run
//
// Killed anywhere and started again, only what is missing runs, and all bits are those of one go, on whatever
// number of ranks. Every rank makes the same calls; the first alone decides, writes and speaks.
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
  // Run `number` of `total` begins; what it returns watches it to its end.
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
  std::function<bool()> stop;       // asked after every step: save and return?
  int local_ranks = 1;              // on this machine, this one among them
  NameKernels name_kernels = {};    // as in TrainOptions,
  CheckKernels check_kernels = {};  // likewise
};

// ConfigError listing the differences when `dir` holds another comparison. A run that diverges is a result;
// every other error of a run ends the comparison. Results are the first rank's.
template <class T>
CompareOutcome run_comparison(const CompareFile& file, const CompareOptions& options, const Ops<T>& ops,
                              CompareObserver& observer, const Communicator& comm = single_rank());

// All that run_comparison checks before it does anything, and nothing else.
template <class T>
ComparePlan check_comparison(const CompareFile& file, const CompareOptions& options, const Ops<T>& ops);

// What there is so far, without training; also while another process trains.
template <class T>
CompareResults report_comparison(const CompareFile& file, const std::string& dir);

}  // namespace saslm
