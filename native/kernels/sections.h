// A group that threads share, in sections: where kernels are told of helpers. TypeScript has no such file: it has one
// thread. Included inside an ISA file's namespace. "Rule n" is a rule of NUMERICS.md.

// Code of its own, so that there is one copy of it, with helpers or without.
template <class Step>
EVENKEEL_NOINLINE auto call_step(const Step& step, size_t begin, size_t end) {
  return step(begin, end);
}
template <class Step>
void run_section(const void* step, size_t begin, size_t end) {
  call_step(*static_cast<const Step*>(step), begin, end);
  end_of_stream();
}
template <class SumsOf>
void sums_of_section(const void* sums_of, size_t begin, size_t end, double* s, double* q) {
  const Sums sums = call_step(*static_cast<const SumsOf*>(sums_of), begin, end);
  *s = sums.s;
  *q = sums.q;
}

// Calls step(begin, end) for sections of n things in a row, of `elements` in all, of which `unit` stay together.
template <class Step>
EVENKEEL_INLINE void in_sections(size_t helpers, size_t n, size_t unit, size_t elements, const Step& step) {
  run_sections({&run_section<Step>, &step, n, unit, elements}, helpers);
}
// The same of n neighbors.
template <class Step>
EVENKEEL_INLINE void in_sections(size_t helpers, size_t n, const Step& step) {
  in_sections(helpers, n, 1024, n, step);
}

// Adds up sums_of(begin, end) of n things, `unit` at a time, in order, so many of them `folded` before they join the
// others. That of all of them is the same.
template <class SumsOf>
EVENKEEL_INLINE Sums sums_in_sections(size_t helpers, size_t n, size_t unit, size_t elements, const SumsOf& sums_of,
                                      size_t folded = 1) {
  Sums total;
  const OrderedSums all{&sums_of_section<SumsOf>, &sums_of, n, unit, elements, 1, folded};
  return add_in_order(&total.s, &total.q, all, helpers) ? total : call_step(sums_of, 0, n);
}

// Threads share the runs of a group, or each run where that makes more sections.
struct RunHelpers {
  size_t of_runs, of_run;

  RunHelpers(size_t helpers, size_t runs, size_t n)
      : of_runs(n / piece_size <= (runs < helpers ? runs : helpers) ? helpers : 0), of_run(helpers - of_runs) {}
};

// Calls step(begin, end) for some of n runs, which have so many elements each.
template <class Step>
EVENKEEL_INLINE void each_runs(size_t helpers, size_t n, size_t positions, const Step& step) {
  if (helpers == 0) return call_step(step, 0, n);
  in_sections(helpers, n, 1, n * positions, step);
}
// Adds up sums_of(begin, end) of single runs, in order and folded (rules 13 and 14); without helpers of all.
template <class SumsOf>
EVENKEEL_INLINE Sums sums_of_runs(size_t helpers, size_t n, size_t positions, const SumsOf& sums_of) {
  return helpers == 0 ? call_step(sums_of, 0, n) : sums_in_sections(helpers, n, 1, n * positions, sums_of, fold64);
}
