// permute: a copy of x in another order of its dimensions. The twin of src/kernels/permute.ts.

constexpr size_t tile = 16;  // rows and columns that are turned together: each of their lines is used whole

// y[i * y_row + j * y_column] = x[i * x_row + j * x_column], tile by tile.
template <class T>
void permute_matrix(T* y, size_t y_row, size_t y_column, const T* x, size_t x_row, size_t x_column, size_t rows,
                    size_t columns) {
  for (size_t i0 = 0; i0 < rows; i0 += tile) {
    const size_t i1 = rows - i0 < tile ? rows : i0 + tile;
    for (size_t j0 = 0; j0 < columns; j0 += tile) {
      const size_t j1 = columns - j0 < tile ? columns : j0 + tile;
      for (size_t i = i0; i < i1; ++i) {
        for (size_t j = j0; j < j1; ++j) y[i * y_row + j * y_column] = x[i * x_row + j * x_column];
      }
    }
  }
}

// y[sum of i * y_strides] = x[sum of i * x_strides] for every index i.
template <class T>
void permute(Tensor<T> y, Tensor<const T> x, Axes shape) {
  const size_t n = shape.count();
  if (n == 0) return;
  if (shape.rank == 0) {
    *y.data = *x.data;
    return;
  }
  // The inner loops run over the dimensions whose elements are neighbors in y and in x; without such over the last.
  const size_t last = shape.rank - 1;
  size_t in_y = last, in_x = last;
  for (size_t i = 0; i < shape.rank; ++i) {
    if (shape.y_strides[i] == 1) in_y = i;
    if (shape.x_strides[i] == 1) in_x = i;
  }
  const bool single = in_x == in_y;
  const size_t columns = shape.dims[in_y], rows = single ? 1 : shape.dims[in_x];
  const bool runs = single && shape.x_strides[in_y] == 1 && shape.y_strides[in_y] == 1;
  size_t index[Axes::most] = {};
  const T* from = x.data;
  T* to = y.data;
  for (size_t done = 0; done < n; done += rows * columns) {
    if (runs) {
      std::memmove(to, from, columns * sizeof(T));  // a caller of the addon may have let them overlap
    } else {
      permute_matrix(to, single ? 0 : shape.y_strides[in_x], shape.y_strides[in_y], from,
                     single ? 0 : shape.x_strides[in_x], shape.x_strides[in_y], rows, columns);
    }
    for (size_t i = shape.rank; i-- > 0;) {
      if (i == in_x || i == in_y) continue;
      from += shape.x_strides[i];
      to += shape.y_strides[i];
      if (++index[i] < shape.dims[i]) break;
      from -= shape.dims[i] * shape.x_strides[i];
      to -= shape.dims[i] * shape.y_strides[i];
      index[i] = 0;
    }
  }
}
