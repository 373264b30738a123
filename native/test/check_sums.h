// The division of calls that take sums over rows or samples (rule 22): each real row adds to the sums once, and these
// have the bits of rule 14, whatever piece it came from. Included by threads_test.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <vector>

#include "../threads/divide.h"

namespace {

using evenkeel::Groups;
using evenkeel::SumOverRows;
using evenkeel::Volume;

class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  size_t below(size_t n) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % n;
  }

 private:
  uint32_t state_;
};

// What a row adds to a sum, whose bits show in what order they were added: of many sizes, with no sum that is exact.
double addend(size_t row, size_t column) {
  const double size = std::ldexp(1.0, static_cast<int>((row * 7 + column * 3) % 61));
  return (row % 3 == 1 ? -size : size) / static_cast<double>(3 + (row * 13 + column) % 101);
}

// Rule 14, word for word: 64 rows make a block, 64 blocks a part.
class Column {
 public:
  void add(double value) {
    block_ += value;
    if (++count_ % 64 == 0) close();
  }
  double total() const { return total_ + (part_ + block_); }
  size_t count() const { return count_; }

 private:
  void close() {
    part_ += block_;
    block_ = 0;
    if (count_ % 4096 != 0) return;
    total_ += part_;
    part_ = 0;
  }
  size_t count_ = 0;
  double block_ = 0, part_ = 0, total_ = 0;
};

// Kernels that add to dx, count, and add up. x says which row or sample of the whole call it is, whatever the share.
void add_rows(evenkeel::Out<float> dx, SumOverRows counts, SumOverRows sums, evenkeel::In<float> x,
              evenkeel::SavedPerGroup saved, Groups shape) {
  for (size_t i = 0; i < shape.outer; ++i) {
    const size_t row = shape.row(i);
    double* const count = counts.at(i, shape);
    double* const sum = sums.at(i, shape);
    const size_t number = static_cast<size_t>(x.at(row)[0]);  // the row's, in the whole call
    if (saved.data[row] != static_cast<double>(number)) std::abort();
    for (size_t k = 0; k < shape.size; ++k) {
      dx.at(row)[k] += 1;
      count[k] += 1;
      if (sum) sum[k] += addend(number, k);
    }
  }
}

// Real rows of a call, in one of several ways: none, one, some neighbors, all, with holes.
std::vector<int32_t> spans_of_rows(Random& random, size_t rows) {
  std::vector<int32_t> list{2, 0};
  const auto add = [&](size_t begin, size_t end) {
    list.push_back(static_cast<int32_t>(begin));
    list.push_back(static_cast<int32_t>(std::min(rows, end)));
  };
  const size_t way = random.below(6);
  const size_t first = random.below(rows);
  if (way == 1) add(first, first + 1);                     // one alone
  if (way == 2) add(first, first + 1 + random.below(70));  // few, or about a block
  if (way == 3) add(0, rows);
  const size_t longest = way == 4 ? 3 : 500, gap = way == 4 ? 3 : 90;
  for (size_t at = random.below(5); way >= 4 && at < rows; at += 1 + random.below(gap)) {
    const size_t end = at + 1 + random.below(longest);
    add(at, end);
    at = end;
  }
  list[1] = static_cast<int32_t>(list.size());
  return list;
}

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// How a call of rows with sums is divided; returns what is wrong.
const char* sums_of_rows(Random& random) {
  const size_t outer = 1 + random.below(random.below(2) ? 200 : 9000);
  const size_t size = evenkeel::worth_dividing * (1 + random.below(5)) / outer + random.below(3);
  const size_t stride = size + random.below(2) * random.below(9);
  if (size == 0) return nullptr;
  std::vector<int32_t> list = spans_of_rows(random, outer);
  Groups shape{outer, size, 1};
  if (random.below(4)) shape.spans.list = list.data();
  const bool has_sums = random.below(8) != 0;
  const size_t blocks = (outer + 63) / 64;
  std::vector<float> dx(outer * stride, 5), x(outer * stride);
  std::vector<double> counts(blocks * size), sums(has_sums ? blocks * size : 0), saved(outer);
  for (size_t row = 0; row < outer; ++row) {
    std::fill_n(&x[row * stride], stride, static_cast<float>(row));
    saved[row] = static_cast<double>(row);
  }
  evenkeel::run_divided(
      add_rows,
      std::make_tuple(evenkeel::Out<float>{dx.data(), stride}, SumOverRows{counts.data()},
                      SumOverRows{has_sums ? sums.data() : nullptr}, evenkeel::In<float>{x.data(), stride},
                      evenkeel::SavedPerGroup{saved.data()}, shape),
      random.below(5));
  std::vector<bool> real(outer, !shape.spans);
  for (size_t at = 2; shape.spans && at < list.size(); at += 2) {
    std::fill(real.begin() + list[at], real.begin() + list[at + 1], true);
  }
  for (size_t i = 0; i < outer * stride; ++i) {
    const float expected = i % stride >= size ? 5 : real[i / stride] ? 6 : 0;
    if (dx[i] != expected) return "an element of rows with sums";
  }
  for (size_t k = 0; k < size; k += 1 + size / 50) {
    Column column;
    for (size_t row = 0; row < outer; ++row) {
      if (real[row]) column.add(addend(row, k));
    }
    if (counts[k] != static_cast<double>(column.count())) return "a number of rows that were added";
    if (has_sums && !same_bits(sums[k], column.total())) return "the order in which rows were added";
  }
  return nullptr;
}

void add_samples(evenkeel::Tensor<float> dx, SumOverRows counts, SumOverRows sums, evenkeel::Tensor<const float> x,
                 evenkeel::SavedPerGroup saved, evenkeel::PerChannel<float> weight, Volume shape) {
  const size_t groups = shape.pitch / shape.channels_per_group;  // of a sample in memory
  for (size_t sample = 0; sample < shape.samples; ++sample) {
    double* const count = counts.at(sample, shape);
    double* const sum = sums.at(sample, shape);
    const size_t padded = shape.spans ? static_cast<size_t>(shape.spans.first(sample)[0]) : 0;
    for (size_t channel = 0; channel < shape.channels(); ++channel) {
      const size_t first = shape.channels_last ? sample * shape.positions * shape.pitch + channel
                                               : (sample * shape.pitch + channel) * shape.positions;
      const size_t number = static_cast<size_t>(x.data[first]);  // the sample's, in the whole call
      const size_t whole = static_cast<size_t>(weight.data[channel]);
      const size_t group = whole / shape.channels_per_group;
      const double of_group = saved.data[sample * groups + channel / shape.channels_per_group];
      if (of_group != static_cast<double>(number * groups + group)) std::abort();
      if (shape.spans && padded != number) std::abort();
      for (size_t position = 0; position < shape.positions; ++position) {
        dx.data[first + position * (shape.channels_last ? shape.pitch : 1)] += 1;
      }
      count[channel] += 1;
      sum[channel] += addend(number, whole);
    }
  }
}

// The same of samples. `large`: blocks of 64 samples, of which a piece has some of the channels.
const char* sums_of_samples(Random& random, bool large) {
  const size_t samples = large ? 4097 + random.below(70) : 1 + random.below(random.below(2) ? 100 : 5000);
  const size_t groups = large ? 2 + random.below(3) : 1 + random.below(random.below(2) ? 5 : 90);
  const size_t channels = large ? 1 : 1 + random.below(random.below(2) ? 1 : 9);
  const size_t count = groups * channels;
  const size_t pieces = large ? 70 + random.below(60) : 1 + random.below(4);
  const size_t positions = evenkeel::worth_dividing * pieces / (samples * count) + 1;
  Volume shape{samples, groups, channels, positions, random.below(2) == 1};
  const size_t n = samples * count * positions;
  std::vector<float> dx(n, 5), x(n), weight(count);
  std::vector<double> saved(samples * groups);
  const size_t rows = samples <= 4096 ? samples : (samples + 63) / 64;
  std::vector<double> counts(rows * count), sums(rows * count);
  std::vector<int32_t> list(3 * samples + 1);
  for (size_t sample = 0; sample < samples; ++sample) {
    std::fill_n(&x[sample * count * positions], count * positions, static_cast<float>(sample));
    list[sample] = static_cast<int32_t>(samples + 1 + 2 * sample);
    list[samples + 1 + 2 * sample] = static_cast<int32_t>(sample);
  }
  list[samples] = static_cast<int32_t>(3 * samples + 1);
  for (size_t i = 0; i < samples * groups; ++i) saved[i] = static_cast<double>(i);
  for (size_t c = 0; c < count; ++c) weight[c] = static_cast<float>(c);
  if (random.below(2)) shape.spans.list = list.data();
  evenkeel::run_divided(
      add_samples,
      std::make_tuple(evenkeel::Tensor<float>{dx.data()}, SumOverRows{counts.data()}, SumOverRows{sums.data()},
                      evenkeel::Tensor<const float>{x.data()}, evenkeel::SavedPerGroup{saved.data()},
                      evenkeel::PerChannel<float>{weight.data()}, shape),
      random.below(5));
  for (const float value : dx) {
    if (value != 6) return "an element of samples with sums";
  }
  for (size_t c = 0; c < count; ++c) {
    Column column;
    for (size_t sample = 0; sample < samples; ++sample) column.add(addend(sample, c));
    if (counts[c] != static_cast<double>(samples)) return "a number of samples that were added";
    if (!same_bits(sums[c], column.total())) return "the order in which samples were added";
  }
  return nullptr;
}

}  // namespace
