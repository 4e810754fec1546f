#include "check/sampled.h"

namespace saslm {
namespace {

constexpr int64_t kRows = 48;  // of every output

struct Row {
  int64_t b, t, h;
};
template <class X>
std::vector<Row> rows_of(const Heads<X>& v, size_t output) {
  const int64_t all = v.B * v.T * v.H, count = std::min(kRows, all);
  std::vector<Row> rows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t drawn_row = int64_t(drawn({.below = int64_t(1) << 30}, output, i)) % all;
    const int64_t r = all <= kRows ? i : i == 0 ? 0 : i == 1 ? all - 1 : drawn_row;
    rows.push_back({r / v.H / v.T, r / v.H % v.T, r % v.H});
  }
  return rows;
}

// Compares, row by row, what is wanted with what came.
template <class X>
std::string compare(const char* name, const Heads<X>& got, const std::vector<Row>& rows,
                    const std::vector<std::vector<double>>& wanted, double relative,
                    Scale scale = Scale::row) {
  std::vector<double> all;
  for (const auto& row : wanted) all.insert(all.end(), row.begin(), row.end());
  const double of_all = root_mean_square(all.data(), int64_t(all.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    const double size = typical(scale, of_all, root_mean_square(wanted[i].data(), int64_t(wanted[i].size())));
    for (size_t d = 0; d < wanted[i].size(); ++d) {
      const auto [b, t, h] = rows[i];
      const double want = wanted[i][d];
      const std::string text =
          beside(double(float(got.at(b, t, h)[d])), want, relative * (std::abs(want) + size));
      if (!text.empty())
        return std::string(name) + "(" + std::to_string(b) + ", " + std::to_string(t) + ", " +
               std::to_string(h) + ", " + std::to_string(d) + "): " + text;
    }
  }
  return "";
}

// row(i) for all of them, in parallel.
template <class Each>
std::vector<std::vector<double>> each(const std::vector<Row>& rows, Each row) {
  std::vector<std::vector<double>> all(rows.size());
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < rows.size(); ++i) all[i] = row(rows[i]);
  return all;
}

template <class X>
double dot(const X* a, const X* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(float(a[i])) * double(float(b[i]));
  return sum;
}
template <class X>
void add(std::vector<double>& sum, double factor, const X* row) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += factor * double(float(row[i]));
}

// {o of one query, lse}.
template <class T>
std::pair<std::vector<double>, double> attend(const AttentionFwd<T>& a, const Row& r) {
  const AttentionHeads reads = heads_of(a);
  const int64_t own = a.start + r.t, first = a.mask.of(r.b, a.k.T).first(int(own)), keys = own + 1 - first;
  std::vector<double> scores(size_t(keys), 0.0), o(size_t(a.v.D), 0.0);
  double most = -INFINITY, sum = 0;
  for (int64_t j = 0; j < keys; ++j) {
    const T* const key = a.k.at(r.b, first + j, reads.k(int(r.h)));
    scores[size_t(j)] = a.scale * dot(a.q.at(r.b, r.t, r.h), key, a.q.D);
    most = std::max(most, scores[size_t(j)]);
  }
  for (double& s : scores) sum += s = std::exp(s - most);
  for (int64_t j = 0; j < keys; ++j)
    add(o, scores[size_t(j)] / sum, a.v.at(r.b, first + j, reads.v(int(r.h))));
  return {o, most + std::log(sum)};
}

// Probability and gradient of the score of query i and key j, for head h.
template <class T>
struct Pair {
  double p, ds;
  Pair(const AttentionBwd<T>& a, int64_t b, int64_t h, int64_t i, int64_t j) {
    const AttentionHeads reads = heads_of(a);
    const double share = double(a.dy.H) / double(a.q.H);
    const T* const dy = a.dy.at(b, i, h % a.dy.H);
    const double lse = double(a.lse[(b * a.q.H + h) * a.q.T + i]);
    p = std::exp(a.scale * dot(a.q.at(b, i, h), a.k.at(b, j, reads.k(int(h))), a.q.D) - lse);
    ds = p * share * (dot(dy, a.v.at(b, j, reads.v(int(h))), a.v.D) - dot(dy, a.o.at(b, i, h), a.v.D));
  }
};

// The sum over all queries that see key r.t, of the heads that read k or v head r.h.
template <class T, class Reads, class Add>
std::vector<double> gather(const AttentionBwd<T>& a, const Row& r, int64_t width, Reads reads, Add term) {
  std::vector<double> sum(size_t(width), 0.0);
  const int64_t last = a.mask.of(r.b, a.k.T).last(int(r.t));
  for (int64_t h = 0; h < a.q.H; ++h)
    for (int64_t i = r.t; reads(int(h)) && i <= last; ++i) term(sum, Pair<T>(a, r.b, h, i, r.t), h, i);
  return sum;
}

}  // namespace

template <class T>
std::string wrong_rows(const AttentionFwd<T>& in, const AttentionFwd<T>& out) {
  const double relative = relative_bound<T>(accuracy_of(in), true);
  const std::vector<Row> rows = rows_of(out.o, 0);
  const auto o = each(rows, [&](const Row& r) { return attend(in, r).first; });
  if (const std::string text = compare("o", out.o, rows, o, relative); !text.empty()) return text;

  const Heads<Accum<T>> lse = heads_BHTD(out.lse.data, in.q.B, in.q.T, in.q.H, 1);
  const auto lse_wanted = each(rows, [&](const Row& r) { return std::vector{attend(in, r).second}; });
  const double in_float = relative_bound<T>({0, accuracy_of(in).terms}, false);
  if (const std::string text = compare("lse", lse, rows, lse_wanted, in_float, Scale::all);
      !text.empty() || !out.y)
    return text;

  const std::vector<Row> pooled = rows_of(out.y, 1);
  const auto y = each(pooled, [&](const Row& r) {
    std::vector<double> mean(size_t(out.y.D), 0.0);
    for (int64_t h = r.h; h < in.q.H; h += out.y.H) {
      const std::vector<double> head = attend(in, {r.b, r.t, h}).first;
      for (size_t d = 0; d < mean.size(); ++d) mean[d] += head[d] * double(out.y.H) / double(in.q.H);
    }
    return mean;
  });
  return compare("y", out.y, pooled, y, relative_bound<T>({2, accuracy_of(in).terms}, true));
}

template <class T>
std::string wrong_rows(const AttentionBwd<T>& in, const AttentionBwd<T>& out) {
  const double relative = relative_bound<T>(accuracy_of(in), true);
  const AttentionHeads reads = heads_of(in);
  const std::vector<Row> queries = rows_of(out.dq, 0), k_rows = rows_of(out.dk, 1),
                         v_rows = rows_of(out.dv, 2);
  const auto dq = each(queries, [&](const Row& r) {
    std::vector<double> sum(size_t(in.q.D), 0.0);
    for (int64_t j = in.mask.of(r.b, in.k.T).first(int(r.t)); j <= r.t; ++j)
      add(sum, in.scale * Pair<T>(in, r.b, r.h, r.t, j).ds, in.k.at(r.b, j, reads.k(int(r.h))));
    return sum;
  });
  if (const std::string text = compare("dq", out.dq, queries, dq, relative); !text.empty()) return text;
  const auto dk = each(k_rows, [&](const Row& r) {
    return gather(
        in, r, in.k.D, [&](int h) { return reads.k(h) == r.h; },
        [&](std::vector<double>& sum, const Pair<T>& pair, int64_t h, int64_t i) {
          add(sum, in.scale * pair.ds, in.q.at(r.b, i, h));
        });
  });
  if (const std::string text = compare("dk", out.dk, k_rows, dk, relative); !text.empty()) return text;
  const double share = double(in.dy.H) / double(in.q.H);
  const auto dv = each(v_rows, [&](const Row& r) {
    return gather(
        in, r, in.v.D, [&](int h) { return reads.v(h) == r.h; },
        [&](std::vector<double>& sum, const Pair<T>& pair, int64_t h, int64_t i) {
          add(sum, share * pair.p, in.dy.at(r.b, i, h % in.dy.H));
        });
  });
  return compare("dv", out.dv, v_rows, dv, relative);
}

template std::string wrong_rows(const AttentionFwd<float>&, const AttentionFwd<float>&);
template std::string wrong_rows(const AttentionFwd<bf16>&, const AttentionFwd<bf16>&);
template std::string wrong_rows(const AttentionBwd<float>&, const AttentionBwd<float>&);
template std::string wrong_rows(const AttentionBwd<bf16>&, const AttentionBwd<bf16>&);

}  // namespace saslm
