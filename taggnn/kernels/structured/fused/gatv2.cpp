// GATv2 over frame cliques and chains, one frame of a clip in one head after the other, nothing of all pairs by all channels.
//
// Scores a . (slope l_j + (1 - slope) max(l_j, -r_i)): relu(l + r) = max(l, -r) + r, and what the target gives alone falls out of
// the softmax. https://arxiv.org/abs/2105.14491, equation 7.
#include "gatv2.h"

namespace {

struct Operands {
  Grid grid;
  const float *l, *r, *a;
  bool clique;
  float slope;
};

// What a unit of either direction reads of its frame.
struct Frame {
  Spans spans;
  float *rows, *panels, *least, *given, *bent, *flat;

  static int64_t floats(const Grid& grid) {
    return (grid.columns() * 2 + up(grid.positions, BLOCK)) * grid.width + grid.columns() + 2 * grid.width + 6 * 16;
  }
  Frame(const Operands& in, const Unit& unit, Room& room) : spans(in.clique ? in.grid.columns() / W : 0) {
    const Grid& grid = in.grid;
    int64_t width = grid.width, columns = grid.columns();
    rows = room.take(columns * width);
    panels = room.take(columns * width);
    least = room.take(up(grid.positions, BLOCK) * width);
    given = room.take(columns);
    Channels weights(in.a + unit.head * width, in.slope, width, room);
    bent = weights.bent;
    flat = weights.flat;
    gather(in.l + unit.channel(unit.start), grid.stride(), grid.positions, width, rows);
    for (int64_t i = 0; i < grid.positions; ++i) {
      const float* r = in.r + unit.channel(unit.start + i);
      for (int64_t c = 0; c < width; c += W) store(least + i * width + c, -load(r + c));
      given[i] = dot(rows + i * width, flat, width);
    }
    for (int64_t i = grid.positions; i < columns; ++i) given[i] = -std::numeric_limits<float>::infinity();
    std::memset(least + grid.positions * width, 0, (up(grid.positions, BLOCK) - grid.positions) * width * sizeof(float));
    transpose(rows, grid.positions, width, spans, panels);
  }
};

// Scores of ROWS targets with C vectors of sources.
template <int C>
inline void score_tile(const float* panel, const float* given, const float* least, const float* bent, int64_t width,
                       float* scores, int64_t columns) {
  V sum[ROWS][C];
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < C; ++c) sum[r][c] = load(given + c * W);
  for (int64_t k = 0; k < width; ++k) {
    V source[C];
    for (int c = 0; c < C; ++c) source[c] = load(panel + (k * C + c) * W);
    V weight = splat(bent[k]);
    for (int r = 0; r < ROWS; ++r) {
      V target = splat(least[r * width + k]);
      for (int c = 0; c < C; ++c) sum[r][c] += weight * larger(source[c], target);
    }
  }
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < C; ++c) store(scores + r * columns + c * W, sum[r][c]);
}

// The same of ROWS / 2 targets, and the products of their gradients with the sources.
template <int C>
inline void score_and_gain_tile(const float* panel, const float* given, const float* least, const float* grad,
                                const float* bent, int64_t width, float* scores, float* gains, int64_t columns) {
  constexpr int R = ROWS / 2;
  V score[R][C], gain[R][C] = {};
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) score[r][c] = load(given + c * W);
  for (int64_t k = 0; k < width; ++k) {
    V source[C];
    for (int c = 0; c < C; ++c) source[c] = load(panel + (k * C + c) * W);
    V weight = splat(bent[k]);
    for (int r = 0; r < R; ++r) {
      V target = splat(least[r * width + k]), slope = splat(grad[r * width + k]);
      for (int c = 0; c < C; ++c) {
        score[r][c] += weight * larger(source[c], target);
        gain[r][c] += slope * source[c];
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) {
      store(scores + r * columns + c * W, score[r][c]);
      store(gains + r * columns + c * W, gain[r][c]);
    }
}

// Adds the gradients of scores to both ends where relu lets them through, strictly: its slope at 0 is 0.
// changes: (ROWS, J); rows and to_source: (P, D); least and to_target: (ROWS, D).
template <int C>
inline void pass_tile(const float* changes, int64_t columns, const float* rows, const float* least, int64_t positions,
                      int64_t width, float* to_source, float* to_target) {
  V target[ROWS][C] = {};
  for (int64_t j = 0; j < positions; ++j) {
    V source[C], sum[C];
    for (int c = 0; c < C; ++c) {
      source[c] = load(rows + j * width + c * W);
      sum[c] = load(to_source + j * width + c * W);
    }
    for (int r = 0; r < ROWS; ++r) {
      V change = splat(changes[r * columns + j]);
      for (int c = 0; c < C; ++c) {
        Mask passes = above(source[c], load(least + r * width + c * W));
        target[r][c] = add_where(target[r][c], passes, change);
        sum[c] = add_where(sum[c], passes, change);
      }
    }
    for (int c = 0; c < C; ++c) store(to_source + j * width + c * W, sum[c]);
  }
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < C; ++c) store(to_target + r * width + c * W, target[r][c]);
}

// The score of one pair; least is -r.
inline float score_of(const float* source, const float* least, const float* bent, const float* flat, int64_t width) {
  V sum = {};
  for (int64_t c = 0; c < width; c += W) {
    V x = load(source + c);
    sum += load(flat + c) * x + load(bent + c) * larger(x, load(least + c));
  }
  return total(sum);
}

inline void pass(float* sum, float change, const float* source, const float* least, int64_t width) {
  V add = splat(change);
  for (int64_t c = 0; c < width; c += W)
    store(sum + c, add_where(load(sum + c), above(load(source + c), load(least + c)), add));
}

void forward_of(const Operands& in, Dropout dropout, int64_t number, int64_t first, int64_t last, Room& room, float* out,
                float* level) {
  const Grid& grid = in.grid;
  Unit unit(grid, number);
  Frame frame(in, unit, room);
  int64_t positions = grid.positions, width = grid.width, columns = in.clique ? grid.columns() : 0;
  float* weights = room.take(BLOCK * grid.columns());
  float* around = room.take(BLOCK * (grid.count + 1));
  float scale[BLOCK];
  Spans channels(width / W);
  for (int64_t block = first; block < last; block += BLOCK) {
    int64_t rows = std::min<int64_t>(BLOCK, last - block);
    for (int64_t row = 0; row < rows; row += ROWS)
      for (int64_t span = 0; span < frame.spans.count(); ++span)
        with_size(frame.spans.size(span), [&](auto size) {
          int64_t at = frame.spans.first(span) * W;
          score_tile<size.value>(frame.panels + at * width, frame.given + at, frame.least + (block + row) * width, frame.bent,
                                 width, weights + row * columns + at, columns);
        });
    for (int64_t row = 0; row < rows; ++row) {
      int64_t i = block + row, node = unit.start + i;
      float *scores = weights + row * columns, *others = around + row * grid.count;
      const float lowest = -std::numeric_limits<float>::infinity();
      V most = splat(lowest);
      if (in.clique) scores[i] = lowest;
      for (int64_t j = 0; j < columns; j += W) most = larger(load(scores + j), most);
      float top = largest(most);
      for (int64_t step = 0; step < grid.count; ++step) {
        others[step] = lowest;
        if (unit.has(grid.steps[step])) {
          const float* source = in.l + unit.channel(node + grid.steps[step] * positions);
          others[step] = score_of(source, frame.least + i * width, frame.bent, frame.flat, width);
        }
        top = others[step] > top ? others[step] : top;
      }
      V sum = {};
      dropout.row(unit.scalar(node));
      for (int64_t j = 0; j < columns; j += W) {
        V weight = exponential(load(scores + j) - top);
        sum += weight;
        store(scores + j, dropout.some ? weight * dropout.factors(j) : weight);
      }
      float all = total(sum);
      for (int64_t step = 0; step < grid.count; ++step) {
        float weight = std::exp(others[step] - top);
        all += weight;
        others[step] = dropout.some ? weight * dropout.factor(positions + step) : weight;
      }
      scale[row] = 1 / all;
      level[unit.scalar(node)] = top + std::log(all);
    }
    for (int64_t row = 0; row < rows; row += ROWS)
      for (int64_t span = 0; span < channels.count(); ++span)
        with_size(channels.size(span), [&](auto size) {
          int64_t at = channels.first(span) * W;
          int some = static_cast<int>(std::min<int64_t>(ROWS, rows - row));
          mean_tile<size.value>(weights + row * columns, columns, frame.rows + at, in.clique ? positions : 0, width, scale + row,
                                some, out + unit.channel(unit.start + block + row) + at, grid.stride());
        });
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t step = 0; step < grid.count; ++step)
        if (unit.has(grid.steps[step])) {
          int64_t node = unit.start + block + row;
          add_scaled(out + unit.channel(node), around[row * grid.count + step] * scale[row],
                     in.l + unit.channel(node + grid.steps[step] * positions), width);
        }
  }
}

struct Gradients {
  const float *grad, *level, *mean;
  float *to_l, *to_r, *to_a;  // to_a: of each unit
};

// One pair in time: its weight as it is used, and the gradient of its score.
struct Pair {
  float weight, change;
  Pair(const float* source, const float* least, const float* grad, float level, float mean, float factor, const Frame& frame,
       int64_t width) {
    float found = std::exp(score_of(source, least, frame.bent, frame.flat, width) - level);
    weight = found * factor;
    change = found * (dot(grad, source, width) * factor - mean);
  }
};

void backward_of(const Operands& in, const Gradients& to, Dropout dropout, int64_t number, Room& room) {
  const Grid& grid = in.grid;
  Unit unit(grid, number);
  Frame frame(in, unit, room);
  int64_t positions = grid.positions, width = grid.width, columns = in.clique ? grid.columns() : 0;
  int64_t padded = up(positions, BLOCK);
  float* grads = room.take(padded * width);
  float* to_values = room.take(grid.columns() * width);
  float* to_source = room.take(grid.columns() * width);
  float* given = room.take(grid.columns());
  float* weights = room.take(BLOCK * grid.columns());
  float* changes = room.take(BLOCK * grid.columns());
  float* to_target = room.take(BLOCK * width);
  float* least = room.take(width);
  float* to_a = to.to_a + number * width;
  Spans channels(width / W);
  gather(to.grad + unit.channel(unit.start), grid.stride(), positions, width, grads);
  std::memset(grads + positions * width, 0, (padded - positions) * width * sizeof(float));
  for (float* part : {to_values, to_source}) std::memset(part, 0, grid.columns() * width * sizeof(float));
  std::memset(given, 0, grid.columns() * sizeof(float));
  std::memset(to_a, 0, width * sizeof(float));
  std::memset(to_target, 0, BLOCK * width * sizeof(float));
  for (int64_t block = 0; block < positions; block += BLOCK) {
    int64_t rows = std::min<int64_t>(BLOCK, positions - block), tiled = up(rows, ROWS);
    for (int64_t row = 0; row < tiled; row += ROWS / 2)
      for (int64_t span = 0; span < frame.spans.count(); ++span)
        with_size(frame.spans.size(span), [&](auto size) {
          int64_t at = frame.spans.first(span) * W;
          score_and_gain_tile<size.value>(frame.panels + at * width, frame.given + at, frame.least + (block + row) * width,
                                          grads + (block + row) * width, frame.bent, width, weights + row * columns + at,
                                          changes + row * columns + at, columns);
        });
    for (int64_t row = 0; row < rows && in.clique; ++row) {
      int64_t i = block + row, at = unit.scalar(unit.start + i);
      float *scores = weights + row * columns, *gains = changes + row * columns;
      scores[i] = -std::numeric_limits<float>::infinity();
      dropout.row(at);
      for (int64_t j = 0; j < columns; j += W) {
        V weight = exponential(load(scores + j) - to.level[at]), gain = load(gains + j), used = weight;
        if (dropout.some) {
          V factor = dropout.factors(j);
          used = used * factor;
          gain = gain * factor;
        }
        V change = weight * (gain - to.mean[at]);
        store(scores + j, used);
        store(gains + j, change);
        store(given + j, load(given + j) + change);
      }
    }
    if (in.clique) {
      for (float* part : {weights, changes}) std::memset(part + rows * columns, 0, (tiled - rows) * columns * sizeof(float));
      for (int64_t span = 0; span < channels.count(); ++span)
        with_size(channels.size(span), [&](auto size) {
          int64_t at = channels.first(span) * W;
          for (int64_t j = 0; j < positions; j += ROWS)
            spread_tile<size.value>(weights + j, columns, grads + block * width + at, rows, width, to_values + j * width + at);
          for (int64_t row = 0; row < rows; row += ROWS)
            pass_tile<size.value>(changes + row * columns, columns, frame.rows + at, frame.least + (block + row) * width + at,
                                  positions, width, to_source + at, to_target + row * width + at);
        });
    }
    for (int64_t row = 0; row < rows; ++row) {
      int64_t i = block + row, node = unit.start + i;
      float *sum = to_target + row * width, *own = frame.least + i * width;
      if (!in.clique) std::memset(sum, 0, width * sizeof(float));
      dropout.row(unit.scalar(node));
      for (int64_t step = 0; step < grid.count; ++step)
        if (unit.has(grid.steps[step])) {
          const float* source = in.l + unit.channel(node + grid.steps[step] * positions);
          float factor = dropout.some ? dropout.factor(positions + step) : 1;
          Pair pair(source, own, grads + i * width, to.level[unit.scalar(node)], to.mean[unit.scalar(node)], factor, frame, width);
          pass(sum, pair.change, source, own, width);
        }
      float* to_r = to.to_r + unit.channel(node);
      for (int64_t c = 0; c < width; c += W) {
        V passed = load(sum + c);
        store(to_r + c, passed * load(frame.bent + c));
        store(to_a + c, load(to_a + c) - (1 - in.slope) * passed * load(own + c));
      }
    }
  }
  for (int64_t i = 0; i < positions; ++i) {
    const float* source = frame.rows + i * width;
    float *values = to_values + i * width, *passed = to_source + i * width;
    // As the source of its temporal neighbours.
    for (int64_t step = 0; step < grid.count; ++step)
      if (unit.has(-grid.steps[step])) {
        int64_t node = unit.start + i - grid.steps[step] * positions, at = unit.scalar(node);
        const float *r = in.r + unit.channel(node), *grad = to.grad + unit.channel(node);
        for (int64_t c = 0; c < width; c += W) store(least + c, -load(r + c));
        dropout.row(at);
        float factor = dropout.some ? dropout.factor(positions + step) : 1;
        Pair pair(source, least, grad, to.level[at], to.mean[at], factor, frame, width);
        given[i] += pair.change;
        add_scaled(values, pair.weight, grad, width);
        pass(passed, pair.change, source, least, width);
      }
    float* to_l = to.to_l + unit.channel(unit.start + i);
    const float* a = in.a + unit.head * width;
    for (int64_t c = 0; c < width; c += W) {
      V change = in.slope * given[i] + (1 - in.slope) * load(passed + c);
      store(to_a + c, load(to_a + c) + change * load(source + c));
      store(to_l + c, load(values + c) + change * load(a + c));
    }
  }
}

}  // namespace

// Returns 0, or 1 where there was no memory. l, r, out (B, T, P, A, D), a (A, D), level (B, T, P, A): the log-sum-exp of a node.
extern "C" int taggnn_gatv2_forward(const float* l, const float* r, const float* a, float* out, float* level, int64_t clips,
                                    int64_t frames, int64_t positions, int64_t heads, int64_t width, const int64_t* steps,
                                    int64_t count, int64_t clique, float slope, float dropout, int64_t seed, int threads) {
  Operands in{{clips, frames, positions, heads, width, count, steps}, l, r, a, clique != 0, slope};
  Dropout dropped(dropout, seed);
  int64_t units = in.grid.units(), blocks = (positions + BLOCK - 1) / BLOCK;
  // Frames are cut where there are too few of them for all threads.
  int64_t cuts = std::max<int64_t>(1, std::min<int64_t>(blocks, units ? 2 * threads / units : 1));
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1 && units * cuts > 1) reduction(| : failed)
  {
    Room room(Frame::floats(in.grid) + BLOCK * (in.grid.columns() + count + 1) + 64);
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

// mean: (B, T, P, A), room; to_a (B, T, A, D), the part of each frame.
extern "C" int taggnn_gatv2_backward(const float* l, const float* r, const float* a, const float* out, const float* level,
                                     const float* grad, float* mean, float* to_l, float* to_r, float* to_a, int64_t clips,
                                     int64_t frames, int64_t positions, int64_t heads, int64_t width, const int64_t* steps,
                                     int64_t count, int64_t clique, float slope, float dropout, int64_t seed, int threads) {
  Operands in{{clips, frames, positions, heads, width, count, steps}, l, r, a, clique != 0, slope};
  Gradients to{grad, level, mean, to_l, to_r, to_a};
  Dropout dropped(dropout, seed);
  int64_t units = in.grid.units(), columns = in.grid.columns(), padded = up(positions, BLOCK);
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1 && units > 1) reduction(| : failed)
  {
    Room room(Frame::floats(in.grid) + (padded + 2 * columns + BLOCK + 1) * width + (2 * BLOCK + 1) * columns + 8 * 16);
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
