// The pool and the division of calls: every piece is done once, every element belongs to one piece, and after a
// call its caller sees all that was done. Plain memory throughout, so that under ThreadSanitizer a missing lock or two
// pieces that overlap end the test. "threads_test race" has such a race on purpose: there it must fail.
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <tuple>

#include "../threads/divide.h"
#include "../threads/pool.h"
#include "check_sections.h"
#include "check_sums.h"

namespace {

using evenkeel::Job;
using evenkeel::JobOwner;

int failures = 0;  // of this thread alone

void fail(const char* what) {
  std::printf("failed: %s\n", what);
  ++failures;
}

// Kernels that add to every element and statistic what says where it lies: 1 for having been there, its channel or
// column by what stands in the weight, its sample by what stands in the spans.

void count_rows(evenkeel::Out<float> y, evenkeel::PerGroup statistic, evenkeel::In<float> x, Groups shape) {
  for (size_t outer = 0; outer < shape.outer; ++outer) {
    for (size_t column = 0; column < shape.inner; ++column) {
      for (size_t row = 0; row < shape.size; ++row) {
        const size_t at = row * shape.pitch + column;
        y.at(outer)[at] += 1 + x.at(outer)[at];
      }
      statistic.full[outer * shape.inner + column] += 1;
    }
  }
}

template <class Each>
void each_element(const Volume& shape, Each each) {
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    for (size_t channel = 0; channel < shape.channels(); ++channel) {
      for (size_t position = 0; position < shape.positions; ++position) {
        const size_t at = shape.channels_last ? position * shape.pitch + channel : channel * shape.positions + position;
        each(sample, channel, sample * shape.pitch * shape.positions + at);
      }
    }
  }
}

float mark(const evenkeel::Volume& shape, size_t sample) {
  return 1 + (shape.spans ? static_cast<float>(shape.spans.first(sample)[0]) : 0);
}

void count_groups(evenkeel::Tensor<float> y, evenkeel::PerGroup statistic, evenkeel::PerChannel<float> weight,
                  Volume shape) {
  each_element(shape, [&](size_t sample, size_t channel, size_t at) {
    y.data[at] += mark(shape, sample) + weight.data[channel];
  });
  for (size_t group = 0; group < shape.count(); ++group) statistic.full[group] += 1;
}

void count_channels(evenkeel::Tensor<float> y, evenkeel::OverBatch<const double> mean,
                    evenkeel::PerChannel<float> weight, Volume shape) {
  each_element(shape, [&](size_t sample, size_t channel, size_t at) {
    if (mean.data[channel] != weight.data[channel]) std::abort();
    y.data[at] += mark(shape, sample) + weight.data[channel];
  });
}

void count_batch(evenkeel::OverBatch<double> mean, evenkeel::Tensor<float> y, Volume shape) {
  each_element(shape, [&](size_t sample, size_t, size_t at) { y.data[at] += mark(shape, sample); });
  for (size_t group = 0; group < shape.groups; ++group) mean.data[group] += 1;
}

void count_samples(evenkeel::Tensor<float> y, Volume shape, size_t) {
  each_element(shape, [&](size_t, size_t, size_t at) { y.data[at] += 1; });
}

void report(const char* wrong) {
  if (wrong) fail(wrong);
}

void check_rows(Random& random) {
  const size_t outer = 1 + random.below(random.below(2) ? 4 : 400);
  const size_t inner = random.below(3) ? 1 + random.below(700) : 1;
  const size_t size = evenkeel::worth_dividing * (1 + random.below(5)) / (outer * inner) + random.below(3);
  if (size == 0) return;
  const size_t stride = size * inner + random.below(2) * random.below(40);
  const std::unique_ptr<float[]> y(new float[outer * stride]()), x(new float[outer * stride]);
  const std::unique_ptr<double[]> statistic(new double[outer * inner]());
  for (size_t i = 0; i < outer * stride; ++i) x[i] = static_cast<float>(i % 1000);
  evenkeel::run_divided(
      count_rows,
      std::make_tuple(evenkeel::Out<float>{y.get(), stride}, evenkeel::PerGroup{nullptr, statistic.get()},
                      evenkeel::In<float>{x.get(), stride}, Groups{outer, size, inner}),
      1 + random.below(4));
  for (size_t i = 0; i < outer * stride; ++i) {
    const float expected = i % stride < size * inner ? 1 + x[i] : 0;
    if (y[i] != expected) return fail("an element of rows or columns");
  }
  for (size_t i = 0; i < outer * inner; ++i) {
    if (statistic[i] != 1) return fail("a statistic of rows or columns");
  }
}

void check_volume(Random& random) {
  const size_t samples = 1 + random.below(random.below(2) ? 4 : 100);
  const size_t groups = 1 + random.below(random.below(2) ? 5 : 300);
  const size_t channels = random.below(2) ? 1 + random.below(9) : 1;
  const size_t count = groups * channels;
  const size_t positions = evenkeel::worth_dividing * (1 + random.below(4)) / (samples * count) + 1;
  Volume shape{samples, groups, channels, positions, random.below(2) == 1};
  const size_t n = samples * count * positions;
  const std::unique_ptr<float[]> y(new float[n]()), weight(new float[count]);
  const std::unique_ptr<double[]> statistic(new double[samples * groups]()), mean(new double[count]());
  const std::unique_ptr<int32_t[]> spans(new int32_t[3 * samples + 1]);
  for (size_t c = 0; c < count; ++c) mean[c] = weight[c] = static_cast<float>(c);
  for (size_t n = 0; n <= samples; ++n) spans[n] = static_cast<int32_t>(samples + 1 + 2 * n);
  for (size_t i = 0; i < 2 * samples; ++i) spans[samples + 1 + i] = static_cast<int32_t>(i / 2 * 1000);
  if (random.below(2)) shape.spans.list = spans.get();
  const size_t helpers = 1 + random.below(4);
  const size_t kind = channels > 1 ? 0 : random.below(4);
  if (kind == 0) {
    evenkeel::run_divided(
        count_groups,
        std::make_tuple(evenkeel::Tensor<float>{y.get()}, evenkeel::PerGroup{nullptr, statistic.get()},
                        evenkeel::PerChannel<float>{weight.get()}, shape),
        helpers);
  } else if (kind == 1) {
    evenkeel::run_divided(
        count_channels,
        std::make_tuple(evenkeel::Tensor<float>{y.get()}, evenkeel::OverBatch<const double>{mean.get()},
                        evenkeel::PerChannel<float>{weight.get()}, shape),
        helpers);
  } else if (kind == 2) {
    for (size_t c = 0; c < count; ++c) mean[c] = 0;
    evenkeel::run_divided(
        count_batch, std::make_tuple(evenkeel::OverBatch<double>{mean.get()}, evenkeel::Tensor<float>{y.get()}, shape),
        helpers);
  } else {
    evenkeel::run_divided(count_samples, std::make_tuple(evenkeel::Tensor<float>{y.get()}, shape, size_t{1}), helpers);
  }
  bool right = true;
  each_element(shape, [&](size_t sample, size_t channel, size_t at) {
    float expected = 1;
    if (kind < 2) expected += static_cast<float>(channel);
    if (kind < 3 && shape.spans) expected += static_cast<float>(sample * 1000);
    right = right && y[at] == expected;
  });
  if (!right) fail("an element of a volume");
  for (size_t i = 0; kind == 0 && i < samples * groups; ++i) {
    if (statistic[i] != 1) return fail("a statistic of a group");
  }
  for (size_t c = 0; kind == 2 && c < groups; ++c) {
    if (mean[c] != 1) return fail("a statistic over the batch");
  }
}

// The pool itself, with pieces far smaller than any call's.

struct Pieces {
  static constexpr size_t most = 300;
  uint32_t done[most] = {};
};

void do_piece(const void* what, size_t piece) { ++const_cast<Pieces*>(static_cast<const Pieces*>(what))->done[piece]; }

bool check_pieces(Random& random) {
  Pieces pieces;
  const size_t count = random.below(Pieces::most + 1);
  evenkeel::run_pieces({do_piece, &pieces, count}, random.below(6));
  for (size_t i = 0; i < Pieces::most; ++i) {
    if (pieces.done[i] != (i < count ? 1 : 0)) return false;
  }
  return true;
}

struct CountedJob : Job {
  uint32_t seed = 0;
  uint32_t run_count = 0, dropped = 0;
  bool right = true;
};

void run_counted(Job* job) {
  auto* own = static_cast<CountedJob*>(job);
  Random random(own->seed);
  own->right = check_pieces(random);
  ++own->run_count;
}

void drop_counted(Job* job) { ++static_cast<CountedJob*>(job)->dropped; }

// What an environment does: calls, jobs, a change of the number of threads, and its end.
void* environment(void* seed) {
  Random random(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(seed)));
  intptr_t wrong = 0;
  for (int round = 0; round < 60; ++round) {
    JobOwner owner;
    constexpr size_t most = 30;
    CountedJob jobs[most];
    const size_t count = random.below(most + 1);
    for (size_t i = 0; i < count; ++i) {
      jobs[i].run = run_counted;
      jobs[i].owner = &owner;
      jobs[i].seed = static_cast<uint32_t>(random.below(1 << 20));
      if (!evenkeel::add_job(&jobs[i])) ++wrong;
      if (random.below(4) == 0 && !check_pieces(random)) ++wrong;
    }
    if (random.below(8) == 0) evenkeel::set_threads(1 + random.below(6));
    while (random.below(4) != 0) {
      if (!check_pieces(random)) ++wrong;
    }
    evenkeel::end_jobs(&owner, drop_counted);
    for (size_t i = 0; i < count; ++i) {
      if (jobs[i].run_count + jobs[i].dropped != 1 || !jobs[i].right) ++wrong;
    }
  }
  return reinterpret_cast<void*>(wrong);
}

void check_environments() {
  constexpr size_t count = 5;
  pthread_t threads[count];
  for (size_t i = 0; i < count; ++i) {
    if (pthread_create(&threads[i], nullptr, environment, reinterpret_cast<void*>(i + 1)) != 0) std::abort();
  }
  for (pthread_t thread : threads) {
    void* wrong = nullptr;
    pthread_join(thread, &wrong);
    if (wrong) fail("a piece or a job of several environments");
  }
}

struct OrderedJob : Job {
  size_t* place;
  size_t* order;
  size_t number;
};

void run_ordered(Job* job) {
  auto* own = static_cast<OrderedJob*>(job);
  own->order[(*own->place)++] = own->number;
}

// With one thread in the pool: a job ends before the next one begins.
void check_order() {
  evenkeel::set_threads(1);
  constexpr size_t count = 200;
  JobOwner owners[3], other;
  OrderedJob jobs[count];
  size_t place = 0, order[count] = {};
  for (size_t i = 0; i < count; ++i) {
    jobs[i].run = run_ordered;
    jobs[i].owner = &owners[i % 3];
    jobs[i].place = &place;
    jobs[i].order = order;
    jobs[i].number = i;
    if (!evenkeel::add_job(&jobs[i])) return fail("a job was not taken");
  }
  evenkeel::end_jobs(&other, drop_counted);  // of an owner that has none
  // Waits until the last one has run.
  struct LastJob : Job {
    std::atomic<bool> done{false};
  } last;
  last.run = [](Job* job) { static_cast<LastJob*>(job)->done.store(true); };
  last.owner = &other;
  if (!evenkeel::add_job(&last)) return fail("a job was not taken");
  while (!last.done.load()) {
  }
  for (JobOwner& owner : owners) evenkeel::end_jobs(&owner, drop_counted);
  evenkeel::end_jobs(&other, drop_counted);
  if (place != count) return fail("a job was lost");
  for (size_t i = 0; i < count; ++i) {
    if (order[i] != i) return fail("the order of jobs");
  }
}

// What ThreadSanitizer must find: pieces that add to one number.
int race() {
  evenkeel::set_threads(4);
  for (int round = 0; round < 2000; ++round) {
    size_t sum = 0;
    const auto add = [](const void* what, size_t) { ++*const_cast<size_t*>(static_cast<const size_t*>(what)); };
    evenkeel::run_pieces({add, &sum, 200}, 3);
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && !std::strcmp(arguments[1], "race")) return race();
  evenkeel::set_threads(5);
  Random random(1);
  for (int i = 0; i < 200; ++i) check_rows(random);
  for (int i = 0; i < 200; ++i) check_volume(random);
  for (int i = 0; i < 120; ++i) report(sums_of_rows(random));
  for (int i = 0; i < 60; ++i) report(sums_of_samples(random, false));
  for (int i = 0; i < 2; ++i) report(sums_of_samples(random, true));
  for (int i = 0; i < 200; ++i) report(sections_of_numbers(random));
  report(check_decisions());
  report(check_kernels());
  check_environments();
  check_order();
  if (failures == 0) std::printf("every piece once\n");
  return failures == 0 ? 0 : 1;
}
