// GAT over frame cliques, each node its own neighbour, and chains, one frame of a clip in one head after the other.
//
// With m_i the largest score of a node, exp(LeakyReLU(s_j + d_i) - m_i) is the larger one of a_i e_j and b_i f_j: no exponential
// of a pair, and no exponent above 0. https://arxiv.org/abs/1710.10903, equation 3.
#include "vectors.h"

namespace {

struct Operands {
  Grid grid;
  const float *v, *s, *d;
  float slope;
};

// What a unit of either direction reads of its frame: rows of values, scores of sources, and e and f, 0 beyond the frame.
struct Frame {
  float *rows, *scores, *high, *low;
  float first;

  static int64_t floats(const Grid& grid) { return grid.columns() * (grid.width + 3) + 4 * 16; }
  Frame(const Operands& in, const Unit& unit, Room& room) {
    const Grid& grid = in.grid;
    int64_t columns = grid.columns();
    rows = room.take(columns * grid.width);
    scores = room.take(columns);
    high = room.take(columns);
    low = room.take(columns);
    gather(in.v + unit.channel(unit.start), grid.stride(), grid.positions, grid.width, rows);
    first = -std::numeric_limits<float>::infinity();
    for (int64_t j = 0; j < grid.positions; ++j) {
      scores[j] = in.s[unit.scalar(unit.start + j)];
      // A score that is no number makes all of them none.
      first = scores[j] <= first ? first : scores[j];
    }
    for (int64_t j = grid.positions; j < columns; ++j) scores[j] = -std::numeric_limits<float>::infinity();
    for (int64_t j = 0; j < columns; j += W) {
      V below = load(scores + j) - first;
      store(high + j, exponential(below));
      store(low + j, exponential(below * in.slope));
    }
    // Where the slope is 0, minus infinity times it is no number.
    for (int64_t j = grid.positions; j < columns; ++j) high[j] = low[j] = 0;
  }
};

void forward_of(const Operands& in, Dropout dropout, int64_t number, int64_t begin, int64_t end, Room& room, float* out,
                float* level) {
  const Grid& grid = in.grid;
  Unit unit(grid, number);
  Frame frame(in, unit, room);
  int64_t positions = grid.positions, width = grid.width, columns = grid.columns();
  float* weights = room.take(BLOCK * columns);
  float* around = room.take(BLOCK * (grid.count + 1));
  float scale[BLOCK];
  Spans channels(width / W);
  for (int64_t block = begin; block < end; block += BLOCK) {
    int64_t rows = std::min<int64_t>(BLOCK, end - block), tiled = up(rows, ROWS);
    for (int64_t row = 0; row < rows; ++row) {
      int64_t node = unit.start + block + row;
      float *used = weights + row * columns, *others = around + row * grid.count;
      float target = in.d[unit.scalar(node)], most = frame.first;
      for (int64_t step = 0; step < grid.count; ++step)
        if (unit.has(grid.steps[step])) {
          float source = in.s[unit.scalar(node + grid.steps[step] * positions)];
          most = source <= most ? most : source;
        }
      float top = leaky(most + target, in.slope), first = frame.first + target;
      V a = splat(std::exp(first - top)), b = splat(std::exp(first * in.slope - top)), sum = {};
      dropout.row(unit.scalar(node));
      for (int64_t j = 0; j < columns; j += W) {
        V weight = larger(a * load(frame.high + j), b * load(frame.low + j));
        sum += weight;
        store(used + j, dropout.some ? weight * dropout.factors(j) : weight);
      }
      float all = total(sum);
      for (int64_t step = 0; step < grid.count; ++step) {
        others[step] = 0;
        if (unit.has(grid.steps[step])) {
          float source = in.s[unit.scalar(node + grid.steps[step] * positions)];
          float weight = std::exp(leaky(source + target, in.slope) - top);
          all += weight;
          others[step] = dropout.some ? weight * dropout.factor(positions + step) : weight;
        }
      }
      scale[row] = 1 / all;
      level[unit.scalar(node)] = top + std::log(all);
    }
    std::memset(weights + rows * columns, 0, (tiled - rows) * columns * sizeof(float));
    for (int64_t row = 0; row < rows; row += ROWS)
      for (int64_t span = 0; span < channels.count(); ++span)
        with_size(channels.size(span), [&](auto size) {
          int64_t at = channels.first(span) * W;
          int some = static_cast<int>(std::min<int64_t>(ROWS, rows - row));
          mean_tile<size.value>(weights + row * columns, columns, frame.rows + at, positions, width, scale + row, some,
                                out + unit.channel(unit.start + block + row) + at, grid.stride());
        });
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t step = 0; step < grid.count; ++step)
        if (unit.has(grid.steps[step])) {
          int64_t node = unit.start + block + row;
          add_scaled(out + unit.channel(node), around[row * grid.count + step] * scale[row],
                     in.v + unit.channel(node + grid.steps[step] * positions), width);
        }
  }
}

// The products of ROWS gradients with C vectors of sources.
template <int C>
inline void gain_tile(const float* panel, const float* grad, int64_t width, float* gains, int64_t columns) {
  V gain[ROWS][C] = {};
  for (int64_t k = 0; k < width; ++k) {
    V source[C];
    for (int c = 0; c < C; ++c) source[c] = load(panel + (k * C + c) * W);
    for (int r = 0; r < ROWS; ++r) {
      V slope = splat(grad[r * width + k]);
      for (int c = 0; c < C; ++c) gain[r][c] += slope * source[c];
    }
  }
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < C; ++c) store(gains + r * columns + c * W, gain[r][c]);
}

struct Gradients {
  const float *grad, *level, *mean;
  float *to_v, *to_s, *to_d;
};

void backward_of(const Operands& in, const Gradients& to, Dropout dropout, int64_t number, Room& room) {
  const Grid& grid = in.grid;
  Unit unit(grid, number);
  Frame frame(in, unit, room);
  int64_t positions = grid.positions, width = grid.width, columns = grid.columns(), padded = up(positions, BLOCK);
  float* panels = room.take(columns * width);
  float* grads = room.take(padded * width);
  float* to_values = room.take(columns * width);
  float* flat = room.take(columns);
  float* steep = room.take(columns);
  float* weights = room.take(BLOCK * columns);
  float* changes = room.take(BLOCK * columns);
  Spans spans(columns / W), channels(width / W);
  transpose(frame.rows, positions, width, spans, panels);
  gather(to.grad + unit.channel(unit.start), grid.stride(), positions, width, grads);
  std::memset(grads + positions * width, 0, (padded - positions) * width * sizeof(float));
  std::memset(to_values, 0, columns * width * sizeof(float));
  for (float* part : {flat, steep}) std::memset(part, 0, columns * sizeof(float));
  for (int64_t block = 0; block < positions; block += BLOCK) {
    int64_t rows = std::min<int64_t>(BLOCK, positions - block);
    for (int64_t row = 0; row < rows; row += ROWS)
      for (int64_t span = 0; span < spans.count(); ++span)
        with_size(spans.size(span), [&](auto size) {
          int64_t at = spans.first(span) * W;
          gain_tile<size.value>(panels + at * width, grads + (block + row) * width, width, changes + row * columns + at, columns);
        });
    for (int64_t row = 0; row < rows; ++row) {
      int64_t i = block + row, node = unit.start + i, at = unit.scalar(node);
      float *used = weights + row * columns, *gains = changes + row * columns;
      float target = in.d[at], first = frame.first + target, mean = to.mean[at], level = to.level[at];
      V a = splat(std::exp(first - level)), b = splat(std::exp(first * in.slope - level)), above_zero = {}, least = splat(-target);
      dropout.row(at);
      for (int64_t j = 0; j < columns; j += W) {
        V weight = larger(a * load(frame.high + j), b * load(frame.low + j)), gain = load(gains + j), kept = weight;
        if (dropout.some) {
          V factor = dropout.factors(j);
          kept = weight * factor;
          gain = gain * factor;
        }
        store(used + j, kept);
        V change = weight * (gain - mean);
        // Strictly: at 0 the slope is that of the negative side.
        Mask passes = above(load(frame.scores + j), least);
        store(flat + j, load(flat + j) + change);
        store(steep + j, add_where(load(steep + j), passes, change));
        above_zero = add_where(above_zero, passes, change);
      }
      float to_d = total(above_zero);
      for (int64_t step = 0; step < grid.count; ++step)
        if (unit.has(grid.steps[step])) {
          int64_t other = node + grid.steps[step] * positions;
          float source = in.s[unit.scalar(other)], weight = std::exp(leaky(source + target, in.slope) - level);
          float factor = dropout.some ? dropout.factor(positions + step) : 1;
          float change = weight * (factor * dot(grads + i * width, in.v + unit.channel(other), width) - mean);
          if (source > -target) to_d += change;
        }
      // The changes of a row add up to 0: those below 0 with their slope are minus those above.
      to.to_d[at] = (1 - in.slope) * to_d;
    }
    for (int64_t span = 0; span < channels.count(); ++span)
      with_size(channels.size(span), [&](auto size) {
        int64_t at = channels.first(span) * W;
        for (int64_t j = 0; j < positions; j += ROWS)
          spread_tile<size.value>(weights + j, columns, grads + block * width + at, rows, width, to_values + j * width + at);
      });
  }
  for (int64_t j = 0; j < positions; ++j) {
    int64_t node = unit.start + j;
    float *values = to_values + j * width, source = frame.scores[j];
    // As the source of its temporal neighbours.
    for (int64_t step = 0; step < grid.count; ++step)
      if (unit.has(-grid.steps[step])) {
        int64_t other = node - grid.steps[step] * positions, at = unit.scalar(other);
        const float* grad = to.grad + unit.channel(other);
        float target = in.d[at], weight = std::exp(leaky(source + target, in.slope) - to.level[at]);
        dropout.row(at);
        float factor = dropout.some ? dropout.factor(positions + step) : 1;
        float change = weight * (factor * dot(grad, frame.rows + j * width, width) - to.mean[at]);
        flat[j] += change;
        if (source > -target) steep[j] += change;
        add_scaled(values, weight * factor, grad, width);
      }
    to.to_s[unit.scalar(node)] = in.slope * flat[j] + (1 - in.slope) * steep[j];
    std::memcpy(to.to_v + unit.channel(node), values, width * sizeof(float));
  }
}

}  // namespace

// Returns 0, or 1 where there was no memory. v, out (B, T, P, A, D), s, d, level (B, T, P, A): the log-sum-exp of a node.
extern "C" int taggnn_gat_forward(const float* v, const float* s, const float* d, float* out, float* level, int64_t clips,
                                  int64_t frames, int64_t positions, int64_t heads, int64_t width, const int64_t* steps,
                                  int64_t count, float slope, float dropout, int64_t seed, int threads) {
  Operands in{{clips, frames, positions, heads, width, count, steps}, v, s, d, slope};
  Dropout dropped(dropout, seed);
  int64_t units = in.grid.units(), blocks = (positions + BLOCK - 1) / BLOCK;
  // Frames are cut where there are too few of them for all threads.
  int64_t cuts = std::max<int64_t>(1, std::min<int64_t>(blocks, units ? 2 * threads / units : 1));
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1 && units * cuts > 1) reduction(| : failed)
  {
    Room room(Frame::floats(in.grid) + BLOCK * (in.grid.columns() + count + 1) + 2 * 16);
    failed = room.failed();
#pragma omp for schedule(dynamic)
    for (int64_t part = 0; part < units * cuts; ++part) {
      if (failed) continue;
      int64_t cut = part % cuts, first = blocks * cut / cuts * BLOCK, last = std::min(blocks * (cut + 1) / cuts * BLOCK, positions);
      room.clear();
      forward_of(in, dropped, part / cuts, first, last, room, out, level);
    }
  }
  return failed;
}

// mean: (B, T, P, A), room.
extern "C" int taggnn_gat_backward(const float* v, const float* s, const float* d, const float* out, const float* level,
                                   const float* grad, float* mean, float* to_v, float* to_s, float* to_d, int64_t clips,
                                   int64_t frames, int64_t positions, int64_t heads, int64_t width, const int64_t* steps,
                                   int64_t count, float slope, float dropout, int64_t seed, int threads) {
  Operands in{{clips, frames, positions, heads, width, count, steps}, v, s, d, slope};
  Gradients to{grad, level, mean, to_v, to_s, to_d};
  Dropout dropped(dropout, seed);
  int64_t units = in.grid.units(), columns = in.grid.columns();
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1 && units > 1) reduction(| : failed)
  {
    Room room(Frame::floats(in.grid) + (2 * columns + up(positions, BLOCK)) * width + (2 * BLOCK + 2) * columns + 7 * 16);
    failed = room.failed();
#pragma omp for
    for (int64_t number = 0; number < units; ++number) means(in.grid, out, grad, mean, number);
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < units; ++number) {
      if (failed) continue;
      room.clear();
      backward_of(in, to, dropped, number, room);
    }
  }
  return failed;
}
