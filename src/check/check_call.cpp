#include "check/check_call.h"

#include "check/accuracy.h"
#include "check/contents.h"
#include "check/paths_of_call.h"
#include "check/sampled.h"
#include "check/twin.h"
#include "core/error.h"

namespace saslm {
namespace {

// Sums in double: their own rounding, far below anything that goes wrong.
constexpr double kInDouble = 0x1p-40;

template <class A>
std::string wrong_sums(const BlockSquares<A>& in, const BlockSquares<A>& out) {
  for (int64_t i = 0; i < out.out.size; ++i) {
    double sum = 0;
    for (int64_t j = i * in.kBlock; j < std::min((i + 1) * in.kBlock, in.x.size); ++j)
      sum += double(in.x[j]) * double(in.x[j]);
    if (const std::string text = beside(out.out[i], sum, kInDouble * sum); !text.empty())
      return "block " + std::to_string(i) + ": " + text;
  }
  return "";
}
template <class T>
std::string wrong_sums(const AddSum<T>& in, const AddSum<T>& out) {
  double sum = in.total[0], sizes = std::abs(sum);
  for (int64_t i = 0; i < in.x.size; ++i) sum += double(in.x[i]), sizes += std::abs(double(in.x[i]));
  return beside(out.total[0], sum, kInDouble * sizes);
}

template <class Args>
concept Sampled = requires(const Args& a) {
  wrong_rows(a, a);
};
template <class Args>
concept Summed = requires(const Args& a) {
  wrong_sums(a, a);
};

template <class T>
constexpr bool kExact = false;
template <class T>
constexpr bool kExact<HeadGatesBwd<T>> = true;  // gradients of the load, a mean over all tokens

template <class T, class Args>
class CallCheck {
 public:
  CallCheck(const KernelCall<T>& call, const Args& args, const Ops<T>& ops)
      : call_(call),
        args_(args),
        ops_(ops),
        views_(views_of(args)),
        fold_(fold_of(views_, kExact<Args>)),
        packing_(call.touched, kGuardBytes),
        before_(packing_),
        queue_(ops.open_stream()),
        block_(ops.allocate(packing_.bytes())) {
    fill(before_, views_, fold_, contents_of(args_, views_));
    if constexpr (!Sampled<Args> && !Summed<Args>) wanted_ = wanted_of(args_, views_, fold_, before_);
  }

  // The reference first: where it is right, what is only looked at in places is held to it in whole.
  std::vector<PathResult> run(uint32_t avoided) {
    std::vector<CallPath> paths = paths_of_call(ops_, *queue_, args_);
    const CallPath reference_path = paths.back();
    paths.pop_back();
    std::erase_if(paths, [&](const CallPath& path) { return (path.variant & avoided) != 0; });
    paths.push_back(reference_path);
    std::vector<PathResult> results(paths.size());
    Image reference(packing_);
    for (size_t i = paths.size(); i-- > 0;) {
      Image after(packing_);
      PathResult& result = results[i] = {paths[i].name, paths[i].variant, ""};
      result.why = wrong(paths[i], after);
      const bool last = i + 1 == paths.size();
      if (Sampled<Args> && !last && result.why.empty() && results.back().why.empty())
        result.why = differs(after, reference);
      if (last) reference = std::move(after);
    }
    return results;
  }

 private:
  std::string wrong(const CallPath& path, Image& after) {
    Image again(packing_);
    try {
      launch(path, after);
      launch(path, again);
    } catch (const std::exception& error) {
      make_sure_of_device(path, error);
      return std::string("cannot be launched: ") + error.what();
    }
    if (const std::string text = trespass(before_, after, views_); !text.empty()) return text;
    if (!same_outputs(after, again, views_)) return "two identical calls gave different bits";
    if constexpr (Sampled<Args>)
      return wrong_rows(moved(args_, packing_, before_.data()), moved(args_, packing_, after.data()));
    else if constexpr (Summed<Args>)
      return wrong_sums(moved(args_, packing_, before_.data()), moved(args_, packing_, after.data()));
    else
      return differs_from_wanted(after);
  }

  void launch(const CallPath& path, Image& after) {
    Stream stream = *queue_;
    ops_.copy_in(stream, block_.get(), before_.data(), before_.size());
    stream.avoided = path.others;
    call_.moved_to(packing_, block_.get())(ops_, stream);
    ops_.copy_out(stream, after.data(), block_.get(), after.size());
  }

  // Some errors end only the call, others all that this process may do on the device.
  void make_sure_of_device(const CallPath& path, const std::exception& error) {
    std::byte one{};
    try {
      ops_.copy_in(*queue_, block_.get(), &one, 1);
      ops_.copy_out(*queue_, &one, block_.get(), 1);
    } catch (const std::exception&) {
      throw DeviceLost(std::string("the device fails after it: ") + error.what(),
                       path.is_last ? "" : path.name);
    }
  }

  std::string differs_from_wanted(const Image& after) const {
    const Accuracy accuracy = accuracy_of(args_);
    for (size_t i = 0; i < views_.size(); ++i)
      if (views_[i].begin && views_[i].is_output()) {
        const double relative = relative_bound<T>(accuracy, views_[i].type == type_of<T>());
        const std::string text = deviation(views_[i], fold_, wanted_[i], after, relative, accuracy.scale);
        if (!text.empty()) return text;
      }
    return "";
  }

  // Both may be off by the bound.
  std::string differs(const Image& after, const Image& reference) const {
    for (const CallView& v : views_)
      if (v.begin && v.is_output()) {
        const double relative = 2 * relative_bound<T>(accuracy_of(args_), v.type == type_of<T>());
        const std::string text = deviation(v, fold_, reference.numbers(v, v.B, v.T), after, relative,
                                           v.type == type_of<T>() ? Scale::row : Scale::all);
        if (!text.empty()) return "differs from the reference: " + text;
      }
    return "";
  }

  const KernelCall<T>& call_;
  const Args& args_;
  const Ops<T>& ops_;
  std::vector<CallView> views_;
  Fold fold_;
  Packing packing_;
  Image before_;
  std::shared_ptr<const Stream> queue_;
  std::shared_ptr<std::byte> block_;
  std::vector<std::vector<double>> wanted_;
};

}  // namespace

template <class T>
std::vector<PathResult> check_call(const KernelCall<T>& call, const Ops<T>& ops, uint32_t avoided) {
  std::vector<PathResult> results;
  const auto attempt = [&]<class Args>(const Args*) {
    if (const Args* args = std::any_cast<Args>(&call.args))
      results = CallCheck(call, *args, ops).run(avoided);
  };
  std::apply(
      [&]<class... Args>(const Operation<T, Args>&...) { (attempt(static_cast<const Args*>(nullptr)), ...); },
      kOperations<T>);
  attempt(static_cast<const AddSum<T>*>(nullptr));
  check(!results.empty(), "every call is of a known operation");
  return results;
}

template std::vector<PathResult> check_call(const KernelCall<float>&, const Ops<float>&, uint32_t);
template std::vector<PathResult> check_call(const KernelCall<bf16>&, const Ops<bf16>&, uint32_t);

}  // namespace saslm
