// Softmax with dropout over whole rows of scores, and its gradient: one pass over memory each.
#include "vectors.h"

namespace {

// Calls f(first number, how many) for the vectors of a row; the last may be shorter.
template <typename F>
inline void by_vector(int64_t columns, F&& f) {
  int64_t j = 0;
  for (; j + W <= columns; j += W) f(j, W);
  if (j < columns) f(j, static_cast<int>(columns - j));
}

inline V some(const float* x, int count, float rest) {
  if (count == W) return load(x);
  float all[W];
  for (int i = 0; i < W; ++i) all[i] = i < count ? x[i] : rest;
  return load(all);
}

inline void put(float* x, V value, int count) {
  if (count == W) return store(x, value);
  float all[W];
  store(all, value);
  for (int i = 0; i < count; ++i) x[i] = all[i];
}

}  // namespace

// scores (rows, columns) become dropout(softmax(scale * scores)); level (rows): the log-sum-exp. `first` is the number of the
// first row in all that is drawn for.
extern "C" int taggnn_softmax_forward(float* scores, float* level, int64_t rows, int64_t columns, int64_t first, float scale,
                                      float dropout, int64_t seed, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; ++row) {
    float* x = scores + row * columns;
    Dropout dropped(dropout, seed);
    dropped.row(first + row);
    const float least = -std::numeric_limits<float>::infinity();
    V most = splat(least);
    by_vector(columns, [&](int64_t j, int count) { most = larger(most, some(x + j, count, least)); });
    const float top = largest(most);
    V sum = {};
    by_vector(columns, [&](int64_t j, int count) {
      V value = exponential((some(x + j, count, least) - top) * scale);
      sum += value;
      put(x + j, value, count);
    });
    const float all = total(sum);
    level[row] = top * scale + std::log(all);
    by_vector(columns, [&](int64_t j, int count) { put(x + j, some(x + j, count, 0) * (1 / all) * dropped.factors(j), count); });
  }
  return 0;
}

// scores become the dropped weights again, and grads (rows, columns), the gradients of those, the gradients of the scores.
// level as above; mean (rows): of the gradients, with the dropped weights.
extern "C" int taggnn_softmax_backward(float* scores, float* grads, const float* level, const float* mean, int64_t rows,
                                       int64_t columns, int64_t first, float scale, float dropout, int64_t seed,
                                       int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; ++row) {
    float *x = scores + row * columns, *g = grads + row * columns;
    Dropout dropped(dropout, seed);
    dropped.row(first + row);
    by_vector(columns, [&](int64_t j, int count) {
      V weight = exponential(some(x + j, count, 0) * scale - level[row]);
      V factor = dropped.factors(j);
      put(x + j, weight * factor, count);
      put(g + j, weight * (some(g + j, count, 0) * factor - mean[row]) * scale, count);
    });
  }
  return 0;
}

// out = dropout(x), or dropout(relu(x)); (rows, columns).
extern "C" int taggnn_dropout(const float* x, float* out, int64_t rows, int64_t columns, float dropout, int64_t seed,
                              int64_t relu, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; ++row) {
    Dropout dropped(dropout, seed);
    dropped.row(row);
    by_vector(columns, [&](int64_t j, int count) {
      V value = some(x + row * columns + j, count, 0);
      // The second of the two where it is NaN.
      if (relu) value = larger(V{}, value);
      put(out + row * columns + j, value * dropped.factors(j), count);
    });
  }
  return 0;
}
