// calibrate_embeddings: count, range, mean and squared deviations of each dimension over rows, NaN left out (rule 20).
// The twin of src/kernels/calibrate_embeddings.ts.

template <class T>
void calibrate_embeddings(OverBatch<double> count, OverBatch<double> min, OverBatch<double> max, OverBatch<double> mean,
                          OverBatch<double> squares, Tensor<const T> x, Volume shape) {
  const size_t n = shape.groups;
  for (size_t k = 0; k < n; ++k) {
    count.data[k] = mean.data[k] = squares.data[k] = 0;
    min.data[k] = HUGE_VAL;
    max.data[k] = -HUGE_VAL;
  }
  for (size_t row = 0; row < shape.samples; ++row) {
    const T* in = x.data + row * shape.pitch;
    for (size_t k = 0; k < n; ++k) {
      const double v = static_cast<double>(in[k]) + 0.0;  // -0 counts as 0
      const bool number = v == v;
      count.data[k] += number ? 1 : 0;
      mean.data[k] += number ? v : 0;  // the sum until all rows are added
      min.data[k] = v < min.data[k] ? v : min.data[k];
      max.data[k] = v > max.data[k] ? v : max.data[k];
    }
  }
  for (size_t k = 0; k < n; ++k) mean.data[k] = count.data[k] > 0 ? mean.data[k] / count.data[k] : 0;
  for (size_t row = 0; row < shape.samples; ++row) {
    const T* in = x.data + row * shape.pitch;
    for (size_t k = 0; k < n; ++k) {
      const double v = static_cast<double>(in[k]);
      const double deviation = v - mean.data[k];
      squares.data[k] += v == v ? deviation * deviation : 0;
    }
  }
}
