// Rows that go past the caches, some side by side. TypeScript has no such file: it knows no caches.
// Included inside an ISA file's namespace, which gives the vector types F (width x float32) and D (width x float64).

// Writes rows one behind the other. A line of memory that two of them share is put together here: a part of one would
// have to wait for the rest of it to be read, and all stores behind it as well (measured: a fifth of all the time).
template <class T>
class RowStream {
 public:
  static constexpr size_t rows = 4;  // side by side (measured)

  // Whether rows so far apart begin alike in a line, as they must.
  static bool takes(size_t stride) { return streams && stride % line<T> == 0; }

  // For rows of n elements, `stride` apart.
  RowStream(size_t n, size_t stride) : n_(n), stride_(stride) {}
  RowStream(const RowStream&) = delete;
  RowStream& operator=(const RowStream&) = delete;

  // Writes so many rows from y on: step(at, put) calls put(k, at, v) for what stands at `at` of each row k.
  template <class Step>
  EVENKEEL_INLINE void write(T* y, Step step) {
    const size_t before = past_alignment<line<T>>(y);
    size_t head = to_alignment<line<T>>(y);
    if (head > n_) head = n_;
    const bool joins = stride_ == n_ && head > 0;
    const size_t behind = head + (n_ - head) / line<T> * line<T>;
    const auto edge = [&](size_t first, size_t end, size_t later, size_t place) EVENKEEL_NOINLINE_LAMBDA {
      const auto put = [&](size_t k, auto at, F v) EVENKEEL_INLINE_LAMBDA {
        at.i -= first;
        at.write(joins ? lines_[k + later] + place : y + k * stride_ + first, v);
      };
      for (size_t i = first; i < end; i += width) step(Tail{i, end - i < width ? end - i : width}, put);
    };
    edge(0, head, 0, before);
    const auto put = [y, stride = stride_](size_t k, auto at, F v)
                         EVENKEEL_INLINE_LAMBDA { at.write(y + k * stride, v); };
    // A copy: what `edge` has seen of the other would be read from memory again after each write (measured: a
    // twentieth).
    const Step whole = step;
    for (size_t i = head; i < behind; i += width) whole(Streamed{{i}}, put);
    edge(behind, n_, 1, 0);
    if (joins) join(y, before);
  }
  // Writes what is left of the last line.
  void finish() {
    if (next_) std::memcpy(next_ - before_, lines_[0], before_ * sizeof(T));
    next_ = nullptr;
  }

 private:
  EVENKEEL_NOINLINE void join(T* y, size_t before) {
    if (next_ != y) {
      finish();
      std::memcpy(y, lines_[0] + before, (line<T> - before) * sizeof(T));
    }
    for (size_t k = next_ ? 0 : 1; k < rows; ++k) {
      for (size_t i = 0; i < line<T>; i += width) stream(y + k * stride_ - before + i, load(lines_[k] + i));
    }
    std::memcpy(lines_[0], lines_[rows], sizeof lines_[0]);
    next_ = y + rows * stride_;
    before_ = before;
  }

  size_t n_, stride_;
  T* next_ = nullptr;  // the row that the line is waiting for
  size_t before_ = 0;
  alignas(64) T lines_[rows + 1][line<T>];
};
