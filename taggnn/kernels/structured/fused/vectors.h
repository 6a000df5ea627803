// Vectors of float32 as wide as the machine's, and the small products that both kernels are made of.
//
// GCC's and Clang's vector extensions, with intrinsics only where compilers miss an instruction. Nothing here depends on
// PyTorch, so that a build takes seconds and outlives its version.
//
// Axes: P positions of a frame, D channels of a head (a multiple of 16), J = P rounded up to whole vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

using std::int64_t;

// W numbers of a vector; SPAN vectors side by side in a tile, of ROWS rows: what the registers hold.
#if defined(__AVX512F__)
constexpr int W = 16, SPAN = 4;
#elif defined(__AVX__)
constexpr int W = 8, SPAN = 2;
#else
constexpr int W = 4, SPAN = 2;
#endif
constexpr int ROWS = 4;
// Targets whose weights exist at a time.
constexpr int BLOCK = 16;

typedef float V __attribute__((vector_size(W * 4), may_alias));
typedef float Unaligned __attribute__((vector_size(W * 4), may_alias, aligned(4)));
typedef int32_t I __attribute__((vector_size(W * 4), may_alias));
typedef uint32_t U __attribute__((vector_size(W * 4), may_alias));

inline V load(const float* x) { return *reinterpret_cast<const Unaligned*>(x); }
inline void store(float* x, V value) { *reinterpret_cast<Unaligned*>(x) = value; }
inline V splat(float x) { return x - V{}; }

inline V larger(V x, V y) {
#if defined(__AVX512F__)
  return (V)_mm512_max_ps((__m512)x, (__m512)y);
#elif defined(__AVX__)
  return (V)_mm256_max_ps((__m256)x, (__m256)y);
#else
  return x > y ? x : y;
#endif
}

// sum + (x > least ? add : 0), without a rounding where nothing is added.
#if defined(__AVX512F__)
typedef __mmask16 Mask;
inline Mask above(V x, V least) { return _mm512_cmp_ps_mask((__m512)x, (__m512)least, _CMP_GT_OQ); }
inline V add_where(V sum, Mask mask, V add) { return (V)_mm512_mask_add_ps((__m512)sum, mask, (__m512)sum, (__m512)add); }
#else
typedef I Mask;
inline Mask above(V x, V least) { return (I)(x > least); }
inline V add_where(V sum, Mask mask, V add) { return sum + (V)((I)add & mask); }
#endif

inline float total(V x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)x);
#else
  float parts[W];
  store(parts, x);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
#endif
}

inline float largest(V x) {
  float parts[W];
  store(parts, x);
  float found = parts[0];
  for (int i = 1; i < W; ++i) found = parts[i] > found ? parts[i] : found;
  return found;
}

// e^x of x <= 88 to a unit in the last digit; 0 below -87, where float32 loses digits. NaN stays NaN.
inline V exponential(V x) {
  const V magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  V shifted = x * 1.44269504088896341f + magic;
  V whole = shifted - magic;
  V rest = x - whole * 0.693359375f;
  rest = rest + whole * 2.12194440e-4f;
  V value = splat(1.9875691500e-4f);
  value = value * rest + 1.3981999507e-3f;
  value = value * rest + 8.3334519073e-3f;
  value = value * rest + 4.1665795894e-2f;
  value = value * rest + 1.6666665459e-1f;
  value = value * rest + 5.0000001201e-1f;
  value = value * rest * rest + rest + 1.0f;
  I power = ((I)shifted - (I)magic + 127) << 23;
  value = value * (V)power;
  return (V)((I)value & ~(I)(x < splat(-87.0f)));
}

inline float leaky(float x, float slope) { return x > 0 ? x : slope * x; }

inline int64_t up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Memory of a thread for one unit after the other, aligned to a cache line, given back at the end of its scope.
class Room {
 public:
  explicit Room(int64_t floats) : all_(static_cast<float*>(std::aligned_alloc(64, up(floats * 4, 64) + 64))) {}
  ~Room() { std::free(all_); }
  Room(const Room&) = delete;
  // Whole cache lines of it, one part after the other.
  float* take(int64_t floats) {
    float* part = all_ + used_;
    used_ += up(floats, 16);
    return part;
  }
  bool failed() const { return all_ == nullptr; }
  void clear() { used_ = 0; }

 private:
  float* all_;
  int64_t used_ = 0;
};

// The vectors of a row, cut into spans of equal size but for one: a last span of one vector would wait for itself.
class Spans {
 public:
  explicit Spans(int64_t vectors) : vectors_(vectors), count_((vectors + SPAN - 1) / SPAN) {}
  int64_t count() const { return count_; }
  int64_t first(int64_t span) const { return count_ ? vectors_ * span / count_ : 0; }
  int size(int64_t span) const { return static_cast<int>(first(span + 1) - first(span)); }

 private:
  int64_t vectors_, count_;
};

// Calls f.template operator()<C>() with the size of a span as a constant.
template <typename F>
inline void with_size(int size, F&& f) {
  switch (size) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
#if defined(__AVX512F__)
    case 3: return f(std::integral_constant<int, 3>());
    case 4: return f(std::integral_constant<int, 4>());
#endif
  }
}

// Rows that lie apart, one after the other. x: rows (P, D) `stride` apart -> (P, D)
inline void gather(const float* x, int64_t stride, int64_t positions, int64_t width, float* rows) {
  for (int64_t i = 0; i < positions; ++i) std::memcpy(rows + i * width, x + i * stride, width * sizeof(float));
}

// Positions as the fastest axis, span by span: (P, D) -> for each span (D, size * W); 0 for positions that are none.
inline void transpose(const float* rows, int64_t positions, int64_t width, const Spans& spans, float* out) {
  for (int64_t span = 0; span < spans.count(); ++span) {
    int64_t first = spans.first(span) * W, size = spans.size(span) * W;
    int64_t there = std::min(size, positions - first);
    float* panel = out + first * width;
    for (int64_t c = 0; c < width; c += 16)
      for (int64_t j = 0; j < there; ++j)
        for (int64_t k = c; k < c + 16; ++k) panel[k * size + j] = rows[(first + j) * width + k];
    for (int64_t k = 0; k < width; ++k)
      for (int64_t j = there; j < size; ++j) panel[k * size + j] = 0;
  }
}

// out_r = scale_r sum_j weights_rj values_j for ROWS rows. weights: rows (J) apart; values (P, D); out: rows `stride` apart.
template <int C>
inline void mean_tile(const float* weights, int64_t columns, const float* values, int64_t positions, int64_t width,
                      const float* scale, int rows, float* out, int64_t stride) {
  V sum[ROWS][C] = {};
  for (int64_t j = 0; j < positions; ++j) {
    V value[C];
    for (int c = 0; c < C; ++c) value[c] = load(values + j * width + c * W);
    for (int r = 0; r < ROWS; ++r) {
      V weight = splat(weights[r * columns + j]);
      for (int c = 0; c < C; ++c) sum[r][c] += weight * value[c];
    }
  }
  for (int r = 0; r < ROWS; ++r)
    if (r < rows)
      for (int c = 0; c < C; ++c) store(out + r * stride + c * W, sum[r][c] * scale[r]);
}

// sums_j += sum_r weights_rj values_r for ROWS columns j. weights: (rows, J); values (rows, D); sums (P, D).
template <int C>
inline void spread_tile(const float* weights, int64_t columns, const float* values, int64_t rows, int64_t width,
                        float* sums) {
  V sum[ROWS][C];
  for (int j = 0; j < ROWS; ++j)
    for (int c = 0; c < C; ++c) sum[j][c] = load(sums + j * width + c * W);
  for (int64_t r = 0; r < rows; ++r) {
    V value[C];
    for (int c = 0; c < C; ++c) value[c] = load(values + r * width + c * W);
    for (int j = 0; j < ROWS; ++j) {
      V weight = splat(weights[r * columns + j]);
      for (int c = 0; c < C; ++c) sum[j][c] += weight * value[c];
    }
  }
  for (int j = 0; j < ROWS; ++j)
    for (int c = 0; c < C; ++c) store(sums + j * width + c * W, sum[j][c]);
}

inline float dot(const float* x, const float* y, int64_t width) {
  V sum = {};
  for (int64_t c = 0; c < width; c += W) sum += load(x + c) * load(y + c);
  return total(sum);
}

inline void add_scaled(float* sum, float weight, const float* x, int64_t width) {
  V factor = splat(weight);
  for (int64_t c = 0; c < width; c += W) store(sum + c, load(sum + c) + factor * load(x + c));
}

// Which weights dropout keeps: a hash of the seed and of the weight's own number, so that a gradient finds the same ones again
// and nothing is stored. A key for each row (SplitMix64), then a mixing of 32 bits (https://github.com/skeeto/hash-prospector).
class Dropout {
 public:
  Dropout(float probability, int64_t seed)
      : some(probability > 0),
        scale(1 / (1 - probability)),
        seed_(static_cast<uint64_t>(seed)),
        least_(static_cast<uint32_t>(static_cast<double>(probability) * 4294967296.0)) {}

  void row(int64_t number) {
    uint64_t x = seed_ + 0x9E3779B97F4A7C15ull * (static_cast<uint64_t>(number) + 1);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    x ^= x >> 31;
    first_ = static_cast<uint32_t>(x);
    second_ = static_cast<uint32_t>(x >> 32);
  }

  // The factor of weight number j of the row: 0, or what the kept ones are scaled by.
  float factor(int64_t j) const {
    uint32_t x = first_ + static_cast<uint32_t>(j);
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = ((x ^ (x >> 15)) + second_) * 0x846CA68Bu;
    return (x ^ (x >> 16)) >= least_ ? scale : 0;
  }

  // The same of W weights from number j on.
  V factors(int64_t j) const {
    U x;
    for (int lane = 0; lane < W; ++lane) x[lane] = static_cast<uint32_t>(lane);
    x += first_ + static_cast<uint32_t>(j);
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = ((x ^ (x >> 15)) + second_) * 0x846CA68Bu;
    x ^= x >> 16;
    return (V)((I)splat(scale) & (I)(x >= (U{} + least_)));
  }

  const bool some;
  const float scale;

 private:
  uint64_t seed_;
  uint32_t least_, first_ = 0, second_ = 0;
};

// Where the nodes of a clip are, and which frames are neighbours in time. A unit is a frame of a clip in one head.
struct Grid {
  int64_t clips, frames, positions, heads, width, count;
  const int64_t* steps;

  int64_t units() const { return clips * frames * heads; }
  int64_t stride() const { return heads * width; }
  int64_t columns() const { return up(positions, W); }
};

struct Unit {
  const Grid& grid;
  int64_t frame, head, start;  // start: the number of its first node, of all clips

  Unit(const Grid& grid, int64_t number) : grid(grid) {
    head = number % grid.heads;
    int64_t row = number / grid.heads;
    frame = row % grid.frames;
    start = row * grid.positions;
  }
  // Of arrays (B, T, P, A, D) and (B, T, P, A).
  int64_t channel(int64_t node) const { return (node * grid.heads + head) * grid.width; }
  int64_t scalar(int64_t node) const { return node * grid.heads + head; }
  bool has(int64_t step) const { return frame + step >= 0 && frame + step < grid.frames; }
};

// out_node . grad_node: the mean of the gradients of a node's weights.
inline void means(const Grid& grid, const float* out, const float* grad, float* mean, int64_t unit_number) {
  Unit unit(grid, unit_number);
  for (int64_t i = 0; i < grid.positions; ++i) {
    int64_t node = unit.start + i;
    mean[unit.scalar(node)] = dot(out + unit.channel(node), grad + unit.channel(node), grid.width);
  }
}

}  // namespace
