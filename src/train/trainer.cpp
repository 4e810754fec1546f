// One loop for any number of ranks. Ranks must evaluate, save, stop and end together, so these follow from
// what all of them know: the step, the losses that compute_gradients gathers, and stop_agreed, which asks
// all. Only rank 0 holds the directory's lock, chooses the checkpoint to resume, and writes; the others read
// that checkpoint themselves and send rank 0 their shares of the state to save.
#include "train/trainer.h"

#include <fcntl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "ops/named_range.h"
#include "train/agreement.h"
#include "train/evaluate.h"
#include "train/load_state.h"
#include "train/now_s.h"
#include "train/run_kernels.h"
#include "train/saved_model.h"
#include "train/schedule.h"
#include "train/shared_scan.h"
#include "train/start_event.h"

namespace saslm {
namespace {

constexpr const char* kRestoring = "restoring of a checkpoint";

TokenSet open_set(const std::vector<std::string>& patterns, const Config& config, const Communicator& comm) {
  return TokenSet(patterns, config.model.vocab_size, config.train.seq_len,
                  std::numeric_limits<int64_t>::max(), scan_among(comm));
}
std::optional<TokenSet> open_val_set(const Config& config, const Communicator& comm) {
  if (!config.data.val.empty()) return open_set(config.data.val, config, comm);
  scan_among(comm)({}, config.model.vocab_size);  // others may have one, which they are then told
  return {};
}

}  // namespace

template <class T>
Trainer<T>::Trainer(const Config& config, const TrainOptions& options, const Ops<T>& ops,
                    TrainObserver& observer, const Communicator& comm, const OptimizerMaker<T>& optimizer)
    : comm_(comm),
      config_(config),
      options_(options),
      observer_(observer),
      plan_(make_fitting_plan(config, ops, options.local_ranks, optimizer)),
      train_set_(open_set(config.data.train, config, comm)),
      val_set_(open_val_set(config, comm)),
      eval_sample_(val_set_ ? make_eval_sample(*val_set_, config.eval.max_sequences) : EvalSample()),
      evaluations_(eval_schedule(config, eval_sample_.sequences())),
      lock_(agree_and_lock(ops)),
      loader_(train_set_, config.data.shuffle, config.train.seed),
      batches_(loader_, config.train.micro_batch, config.train.seq_len),
      verdict_(checked_by_all(comm, config, options.check_kernels)),
      engine_(config.model, training_shape(config), Mode::train, ops, comm,
              sharing_among(comm, config.runtime, options.local_ranks), config.optim, optimizer),
      detector_(config.train),
      started_at_s_(now_s()) {
  for (const std::string& line : check_tokenizer(config, train_set_, val_set_)) observer_.note(line);
  state_.train_fingerprint = train_set_.fingerprint();
  state_.val_fingerprint = val_set_ ? val_set_->fingerprint() : "";
  state_.eval_sample = eval_sample_.fingerprint;
  state_.ranks = comm.size();
  state_.computed_by = computed_by(ops);
  peak_ = peak_of(config.runtime, state_.computed_by.platform, std::is_same_v<T, bf16>);
  tell_platform(comm, state_.computed_by.platform, peak_, observer);
  restore();
  for (const std::string& line : avoid_kernels(engine_, verdict_, state_.avoided, observer))
    if (resumed_at_ >= 0) {
      changes_.push_back(line + "; the last bits change from here");
      observer.warning("changed since the checkpoint: " + changes_.back());
    }
  if (val_set_ && tokenizer_) check_holds(*val_set_, *tokenizer_);
  saver_.emplace(comm, observer,
                 SaverOptions{.dir = checkpoints_dir(options_.run_dir),
                              .config = config_.checkpoint,
                              .carried = carried_,
                              .lock = lock_.get(),
                              .metrics = metrics_.get()});
  if (saved_at_ >= 0) saver_->found(saved_at_);
  if (config_.runtime.matmul == MatmulChoice::timed &&
      !engine_.ops().time_products(engine_.stream(), state_.product_table))
    observer_.warning(
        "the checkpoint's matrix products were timed on another GPU or with another library: they are timed "
        "anew, and the run's last bits may change");
  if (metrics_) log_start();
}

template <class T>
std::unique_ptr<RunLock> Trainer<T>::agree_and_lock(const Ops<T>& ops) const {
  if (comm_.size() > 1) {
    nlohmann::json mine = keys_alike_on_ranks(config_);
    mine["ranks"] = config_.train.ranks;
    mine["fingerprint of data.train"] = train_set_.fingerprint();
    mine["fingerprint of data.val"] = val_set_ ? val_set_->fingerprint() : "";
    mine["--resume"] = int(options_.resume);
    mine["--init-from"] = options_.init_from;
    mine["weights in bytes"] = sizeof(T);
    mine["build"] = build_hash();
    mine["compute capability"] =
        ops.platform().capability;  // each rank's own machine code updates its weights
    check_alike(comm_, mine);
  }
  if (comm_.size() > 1 && config_.runtime.gradient_sum == RankSum::library)
    comm_.all_reduce({}, {}, "sum of gradients");  // of nothing: refused where nobody can
  if (!comm_.first()) return nullptr;
  if (path_exists(options_.run_dir + "/comparison.json"))
    throw ConfigError(options_.run_dir + " is a comparison's folder, whose runs are in " + options_.run_dir +
                      "/runs; choose another --run-dir");
  return std::make_unique<RunLock>(options_.run_dir);
}

template <class T>
void Trainer<T>::restore() {
  if (!comm_.first()) return follow_first();
  remove_abandoned_writes(options_.run_dir);
  const std::optional<Checkpoint> found = find_checkpoint(options_.run_dir, options_.resume, observer_);
  if (found)
    resume_from(*found);
  else
    start_anew(options_.init_from);
  atomic_write_file(options_.run_dir + "/config.json", to_json(config_));
  metrics_ = std::make_unique<MetricsLog>(options_.run_dir + "/metrics.jsonl");
  const ResumeReport report =
      metrics_->resume(found ? state_.step : MetricsLog::kNoCheckpoint, other_evaluations_);
  if (report.invalid > 0)
    observer_.warning("dropped " + std::to_string(report.invalid) + " unreadable lines of metrics.jsonl");
  if (found) complete_record(report, *found, state_.step, *metrics_, observer_);
  if (found && report.last_eval_step == state_.step) {
    evaluated_at_ = state_.step;
    last_val_loss_ = report.last_val_loss;
  }
  gather_texts(comm_, nlohmann::json{found ? found->path() : "", evaluated_at_, state_.origin.path}.dump(),
               kRestoring);
}

template <class T>
void Trainer<T>::follow_first() {
  const nlohmann::json first = nlohmann::json::parse(gather_texts(comm_, "", kRestoring)[0]);
  if (const std::string path = first[0]; path.empty())
    start_anew(first[2]);
  else
    resume_from(verified_elsewhere(path));
  evaluated_at_ = first[1];
}

template <class T>
void Trainer<T>::take_tokenizer(const TokenizerCopy& carried, const std::string& where) {
  RunTokenizer run = run_tokenizer(config_, train_set_, carried, where);
  for (const std::string& line : run.warnings) observer_.warning(line);
  if (config_.data.tokenizer.empty()) config_.data.tokenizer = run.copy.name;
  state_.tokenizer = {run.copy.name, run.copy.fingerprint};
  carried_ = std::move(run.copy.files);
  tokenizer_ = std::move(run.tokenizer);
}

template <class T>
void Trainer<T>::start_anew(const std::string& init_from) {
  state_.origin = kFromSeed;
  take_tokenizer(options_.tokenizer.value_or(TokenizerCopy{}), options_.tokenizer ? "the run" : "");
  engine_.state().initialise(config_.train.seed);
  if (init_from.empty()) return;
  const SavedModel from = find_saved_model(init_from);
  for (const std::string& line : from.skipped) observer_.warning("--init-from: skipped checkpoint " + line);
  if (const std::string line = check_data_of(from, train_set_); !line.empty()) observer_.warning(line);
  if (to_json(from.config) != to_json(config_.model))
    observer_.warning("the model block of " + from.path +
                      "/config.json differs from this run's; tensors are taken by name and shape");
  if (const std::string what = load_weights(engine_.state(), from.path); !what.empty())
    observer_.warning("weights from " + from.path + ": " + what + ", so no step can be good");
  state_.origin = origin_of_weights(from);
  observer_.note("began with " + describe(state_.origin));
}

template <class T>
void Trainer<T>::resume_from(const Checkpoint& checkpoint) {
  changes_ = check_resumable(checkpoint.config_json(), to_json(config_), checkpoint.path());
  RunState saved = run_state_from_json(checkpoint.state_json(), checkpoint.path());
  take_tokenizer({saved.tokenizer.name, saved.tokenizer.fingerprint, checkpoint.carried()},
                 checkpoint.path());
  tell_changes(checkpoint, saved, state_, options_.init_from, changes_, observer_);
  other_evaluations_ = other_evaluations(checkpoint, saved, state_, eval_sample_, observer_) && val_set_;
  saved.val_fingerprint = state_.val_fingerprint;
  saved.eval_sample = state_.eval_sample;
  saved.tokenizer = state_.tokenizer;
  saved.ranks = state_.ranks;
  saved.computed_by = state_.computed_by;

  load_state(engine_.state(), checkpoint);
  state_ = saved;
  detector_.restore(saved.detector);
  resumed_at_ = state_.step;
  // Where a run is now to end at a step that it once passed, that checkpoint is saved anew, as an end.
  const bool now_an_end = state_.step >= config_.train.steps &&
                          nlohmann::json::parse(checkpoint.config_json())["train"]["steps"] > state_.step;
  if (!now_an_end) saved_at_ = state_.step;
  observer_.note("resumed from " + checkpoint.path());
}

template <class T>
void Trainer<T>::log_start() {
  observer_.note("data.train: " + train_set_.description());
  if (val_set_) {
    observer_.note("data.val: " + val_set_->description() + "; an evaluation " + eval_sample_.description());
    if (!tokenizer_)
      observer_.note(
          "no bits per byte: which tokenizer made the tokens is not known, or its files are not there");
  }
  observer_.schedule(evaluations_);
  observer_.note(budget_of(config_.train, train_set_.n_samples()));
  metrics_->log("start",
                start_event({.config = config_,
                             .plan = plan_,
                             .state = state_,
                             .resumed = resumed_at_ >= 0,
                             .changes = changes_,
                             .kernels = named_kernels(engine_, config_, options_.name_kernels, observer_),
                             .verdict = verdict_,
                             .peak_tflops = peak_.tflops,
                             .arena_bytes = engine_.arena().bytes(),
                             .train_samples = train_set_.n_samples(),
                             .eval_sequences = eval_sample_.sequences()}));
}

template <class T>
bool Trainer<T>::stop_agreed() {
  const bool stop = (options_.stop && options_.stop()) ||
                    (options_.max_minutes > 0 && now_s() - started_at_s_ > 60 * options_.max_minutes);
  const Saver::News news = saver_->news();
  struct Wishes {
    double stop, save_ended, save_wanted;
  };
  const Wishes mine{double(stop), double(news.ended), double(news.wanted)};
  const std::vector<Wishes> all = gather_structs(comm_, mine, "agreement on going on");
  const auto any = [&](double Wishes::*wish) {
    return std::any_of(all.begin(), all.end(), [&](const Wishes& one) { return one.*wish != 0; });
  };
  if (any(&Wishes::save_ended)) saver_->end();
  if (any(&Wishes::save_wanted)) save();
  return any(&Wishes::stop);
}

template <class T>
bool Trainer<T>::checkpoint_due() const {
  if (saved_at_ == state_.step) return false;
  const int64_t every = config_.checkpoint.every_steps;
  return every > 0 && state_.step > 0 && state_.step % every == 0;
}

template <class T>
TrainEnd Trainer<T>::run() {
  for (;;) {  // save before evaluating: whoever is ended then has lost nothing
    const bool last = state_.step >= config_.train.steps;
    if (last)
      save_for_good();
    else if (checkpoint_due())
      save();
    const bool evaluated = !eval_due() || run_evaluation();
    share_products();
    if (evaluated && last) break;
    if (!evaluated || stop_agreed()) {
      save_for_good();
      return TrainEnd::stopped;
    }
    train_step();
    share_products();
    if (detector_.diverged()) {
      save_for_good();
      if (!comm_.first()) throw PeerError();
      throw DivergedError("training diverged: " + std::to_string(detector_.state().bad_in_row) +
                          " bad steps in a row up to step " + std::to_string(state_.step - 1) +
                          " (train.max_bad_steps); the weights before them are saved in " +
                          checkpoints_dir(options_.run_dir) +
                          "; start anew in another --run-dir, with a lower optim.lr or a longer warmup");
    }
  }
  save_for_good();
  if (metrics_) {
    metrics_->log("end", {{"step", state_.step}, {"updates", state_.updates}, {"tokens", state_.tokens}});
    metrics_->sync();
  }
  return TrainEnd::finished;
}

template <class T>
void Trainer<T>::compute_gradients(StepRecord& record) {
  const TrainConfig& train = config_.train;
  const int64_t mine = comm_.rank() * train.grad_accum;  // the first of this rank's micro-batches
  const auto totals = engine_.compute_gradients([&](int64_t micro) {
    const bool last = micro + 1 == train.grad_accum;
    const int64_t next =
        last ? train.global_batch + mine * train.micro_batch : (mine + micro + 1) * train.micro_batch;
    return batches_.get(state_.sample_index + uint64_t((mine + micro) * train.micro_batch),
                        state_.sample_index + uint64_t(next));
  });
  state_.sample_index += uint64_t(train.global_batch);
  record.loss = totals.loss;
  record.aux_loss = totals.aux_loss;
  record.grad_norm = totals.grad_norm;
}

template <class T>
void Trainer<T>::train_step() {
  const double begin_s = now_s();
  StepRecord record{
      .step = state_.step, .first_sample = state_.sample_index, .samples = config_.train.global_batch};
  compute_gradients(record);
  record.lr = learning_rate(config_.optim, config_.train.steps, state_.step);
  record.skipped = detector_.judge(record.loss, record.grad_norm);
  if (record.skipped)
    observer_.warning("step " + std::to_string(state_.step) + " skipped, nothing updated: " +
                      *record.skipped + " (samples " + std::to_string(record.first_sample) + " to " +
                      std::to_string(state_.sample_index - 1) + " of the stream)");
  else
    engine_.update(record.lr, record.grad_norm, ++state_.updates);
  state_.detector = detector_.state();
  ++state_.step;
  state_.tokens += plan_.tokens_per_step;

  const double seconds = now_s() - begin_s;
  record.tokens = state_.tokens;
  record.step_ms = seconds * 1e3;
  record.tokens_per_s = double(plan_.tokens_per_step) / seconds;
  record.mfu = mfu_of(plan_.flops_per_token, record.tokens_per_s, peak_, comm_.size());
  if (metrics_) {
    const bool well = metrics_->problem().empty();
    metrics_->log_step(record);
    if (well && !metrics_->problem().empty())
      observer_.warning(metrics_->problem() +
                        "; what cannot be written is kept, and must be before the next checkpoint");
  }
  observer_.step(record);
}

template <class T>
bool Trainer<T>::run_evaluation() {
  const double begin_s = now_s();
  const auto progress = [this](int64_t done) {
    observer_.evaluating({.step = state_.step, .done = done, .sequences = evaluations_.sequences});
  };
  progress(0);
  const auto result = evaluate(engine_, *val_set_, eval_sample_,
                               {.batch = config_.train.micro_batch,
                                .tokenizer = tokenizer_.get(),
                                .stop = [this] { return stop_agreed(); },
                                .progress = progress});
  if (!result) return false;
  const EvalSum& all = result->all;
  const EvalRecord record{.step = state_.step,
                          .val_loss = all.loss(),
                          .val_ppl = std::exp(all.loss()),
                          .val_tokens = all.targets,
                          .val_bpb = all.bits_per_byte(),
                          .sequences = all.sequences,
                          .eval_ms = (now_s() - begin_s) * 1e3};
  if (metrics_) metrics_->log_eval(record);
  observer_.eval(record);
  evaluated_at_ = state_.step;
  last_val_loss_ = all.loss();
  return true;
}

template <class T>
void Trainer<T>::save() {
  const NamedRange range(engine_.ops(), "checkpoint");
  saver_->end();
  const double begin_s = now_s();
  saved_at_ = state_.step;
  const bool beside = config_.checkpoint.background;
  Snapshot snapshot{.step = state_.step,
                    .tensors = beside ? engine_.state().snapshot() : engine_.state().fetch()};
  state_.product_table = engine_.ops().product_table(engine_.stream());
  snapshot.state_json = to_json(state_);
  snapshot.config_json = to_json(config_);
  saver_->begin(std::move(snapshot), (now_s() - begin_s) * 1e3);
  if (!beside) saver_->end();
}

template <class T>
void Trainer<T>::save_for_good() {
  saver_->end();
  while (!saver_->has(state_.step)) {
    save();
    saver_->end();
  }
}

template class Trainer<float>;
template class Trainer<bf16>;

}  // namespace saslm
