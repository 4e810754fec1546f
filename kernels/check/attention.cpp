#include "kernels/attention.h"

#include <cmath>
#include <string>

#include "core/bf16.h"
#include "core/error.h"
#include "kernels/attention_plan.h"

namespace saslm {
namespace {

// Refusals of one operation, named by it. Messages are built only when something is wrong.
struct Wanted {
  const char* op;

  [[noreturn]] void refuse(const std::string& what) const { throw ShapeError(std::string(op) + ": " + what); }

  // equal("k.", "B", ...) speaks of k.B.
  void equal(const char* view, const char* size, int64_t got, int64_t wanted, const char* as) const {
    if (got != wanted)
      refuse(std::string(view) + size + " = " + std::to_string(got) + ", wanted " + std::to_string(wanted) +
             " (" + as + ")");
  }
  void divides(const char* part, int64_t count, const char* whole, int64_t of) const {
    if (count < 1 || of % count != 0)
      refuse(std::string(part) + " = " + std::to_string(count) + ", wanted a divisor of " + whole + " = " +
             std::to_string(of));
  }
  template <class X>
  void present(const char* name, const Heads<X>& x) const {
    if (!x) refuse(std::string(name) + " is absent, wanted (B, T, heads, width)");
    if (x.B < 1 || x.T < 1 || x.H < 1 || x.D < 1)
      refuse(std::string(name) + " is (" + std::to_string(x.B) + ", " + std::to_string(x.T) + ", " +
             std::to_string(x.H) + ", " + std::to_string(x.D) + "), wanted every size at least 1");
  }
  template <class X, class Y>
  void like(const char* view, const Heads<X>& x, const char* as, const Heads<Y>& y) const {
    equal(view, "B", x.B, y.B, as);
    equal(view, "T", x.T, y.T, as);
    equal(view, "H", x.H, y.H, as);
    equal(view, "D", x.D, y.D, as);
  }
};

// What forward and backward ask alike of q, k, v, o, lse and the numbers beside them.
template <class A>
void check_operands(const Wanted& wanted, const A& a, int64_t start) {
  wanted.present("q", a.q);
  wanted.present("k", a.k);
  wanted.present("v", a.v);
  wanted.present("o", a.o);
  if (start < 0) wanted.refuse("start = " + std::to_string(start) + ", wanted at least 0");
  wanted.equal("k.", "B", a.k.B, a.q.B, "as q");
  wanted.equal("v.", "B", a.v.B, a.q.B, "as q");
  wanted.equal("k.", "T", a.k.T, start + a.q.T, "start + q.T");
  wanted.equal("v.", "T", a.v.T, a.k.T, "as k");
  wanted.equal("k.", "D", a.k.D, a.q.D, "as q");
  wanted.equal("o.", "B", a.o.B, a.q.B, "as q");
  wanted.equal("o.", "T", a.o.T, a.q.T, "as q");
  wanted.equal("o.", "H", a.o.H, a.q.H, "as q");
  wanted.equal("o.", "D", a.o.D, a.v.D, "as v");
  wanted.divides("k.H", a.k.H, "q.H", a.q.H);
  if (a.v_modulo == 0) {
    wanted.divides("v.H", a.v.H, "q.H", a.q.H);
  } else {
    wanted.divides("v_modulo", a.v_modulo, "q.H", a.q.H);
    wanted.divides("v.H", a.v.H, "v_modulo", a.v_modulo);
  }
  if (!a.lse.data) wanted.refuse("lse is absent, wanted B*H*Tq elements");
  wanted.equal("lse.", "size", a.lse.size, a.q.B * a.q.H * a.q.T, "B*H*Tq");
  if (!(std::isfinite(a.scale) && a.scale > 0))
    wanted.refuse("scale = " + std::to_string(a.scale) + ", wanted a positive number, 1/sqrt(E) as a rule");
}

}  // namespace

template <class T>
void AttentionFwd<T>::check() const {
  const Wanted wanted{"attention_fwd"};
  check_operands(wanted, *this, start);
  if (!y) return;
  wanted.equal("y.", "B", y.B, q.B, "as q");
  wanted.equal("y.", "T", y.T, q.T, "as q");
  wanted.divides("y.H", y.H, "q.H", q.H);
  wanted.equal("y.", "D", y.D, v.D, "as v");
}

template <class T>
void AttentionBwd<T>::check() const {
  const Wanted wanted{"attention_bwd"};
  check_operands(wanted, *this, 0);
  wanted.present("dq", dq);
  wanted.present("dk", dk);
  wanted.present("dv", dv);
  wanted.present("dy", dy);
  wanted.like("dq.", dq, "as q", q);
  wanted.like("dk.", dk, "as k", k);
  wanted.like("dv.", dv, "as v", v);
  wanted.equal("dy.", "B", dy.B, q.B, "as q");
  wanted.equal("dy.", "T", dy.T, q.T, "as q");
  wanted.divides("dy.H", dy.H, "q.H", q.H);
  wanted.equal("dy.", "D", dy.D, v.D, "as v");
}

template <class T>
int64_t attention_bwd_scratch(const AttentionShape& shape) {
  const AttentionBwdPlan plan(shape);
  if constexpr (std::is_same_v<T, bf16>)
    return plan.scratch();
  else if constexpr (std::is_same_v<T, float>)
    return plan.statistics();
  else
    return 0;
}

template struct AttentionFwd<bf16>;
template struct AttentionFwd<float>;
template struct AttentionFwd<double>;
template struct AttentionBwd<bf16>;
template struct AttentionBwd<float>;
template struct AttentionBwd<double>;
template int64_t attention_bwd_scratch<bf16>(const AttentionShape&);
template int64_t attention_bwd_scratch<float>(const AttentionShape&);
template int64_t attention_bwd_scratch<double>(const AttentionShape&);

}  // namespace saslm
