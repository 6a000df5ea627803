// GATv2 over a few edges inside a frame, the same in every frame, and chains: one frame of a clip in one head after the other.
//
// Scores as in gatv2.cpp: a . (slope l_j + (1 - slope) max(l_j, -r_i)). https://arxiv.org/abs/2105.14491, equation 7.
// A unit has a slot for each edge of the frame, sorted by target, and then for each node and distance in time.
#include "gatv2.h"

namespace {

// Edges of a frame by target and by source: first[i] to first[i + 1] are those of node i. edge: the slot of an edge.
struct Edges {
  const int64_t *first, *source, *back_first, *target, *edge;
  int64_t count;
};

struct Operands {
  Grid grid;
  Edges edges;
  const float *l, *r, *a;
  float slope;

  int64_t slots() const { return edges.count + grid.positions * grid.count; }
  int64_t in_time(int64_t node, int64_t step) const { return edges.count + node * grid.count + step; }
};

inline float score_of(const float* l, const float* r, const Channels& a, int64_t width) {
  V sum = {};
  for (int64_t c = 0; c < width; c += W) {
    V x = load(l + c);
    sum += load(a.flat + c) * x + load(a.bent + c) * larger(x, -load(r + c));
  }
  return total(sum);
}

// sum += change where relu lets it through, strictly: its slope at 0 is 0.
inline void pass(float* sum, float change, const float* l, const float* r, int64_t width) {
  V add = splat(change);
  for (int64_t c = 0; c < width; c += W) store(sum + c, add_where(load(sum + c), above(load(l + c), -load(r + c)), add));
}

// Calls f(slot, number of the weight of this node, source) for each edge to node i of the unit.
template <typename F>
inline void sources_of(const Operands& in, const Unit& unit, int64_t i, F&& f) {
  for (int64_t e = in.edges.first[i]; e < in.edges.first[i + 1]; ++e)
    f(e, in.edges.source[e], unit.start + in.edges.source[e]);
  for (int64_t step = 0; step < in.grid.count; ++step)
    if (unit.has(in.grid.steps[step]))
      f(in.in_time(i, step), in.grid.positions + step, unit.start + i + in.grid.steps[step] * in.grid.positions);
}

// weights: (units, slots), before dropout; not written where there is no edge.
void forward_of(const Operands& in, Dropout dropout, int64_t number, Room& room, float* out, float* weights) {
  Unit unit(in.grid, number);
  Channels a(in.a + unit.head * in.grid.width, in.slope, in.grid.width, room);
  int64_t width = in.grid.width;
  float* own = weights + number * in.slots();
  for (int64_t i = 0; i < in.grid.positions; ++i) {
    int64_t node = unit.start + i;
    const float* r = in.r + unit.channel(node);
    float* sum = out + unit.channel(node);
    float top = -std::numeric_limits<float>::infinity(), all = 0;
    sources_of(in, unit, i, [&](int64_t slot, int64_t, int64_t source) {
      own[slot] = score_of(in.l + unit.channel(source), r, a, width);
      top = own[slot] > top ? own[slot] : top;
    });
    sources_of(in, unit, i, [&](int64_t slot, int64_t, int64_t) { all += own[slot] = std::exp(own[slot] - top); });
    dropout.row(unit.scalar(node));
    std::memset(sum, 0, width * sizeof(float));
    sources_of(in, unit, i, [&](int64_t slot, int64_t j, int64_t source) {
      own[slot] /= all;
      float factor = dropout.some ? dropout.factor(j) : 1;
      add_scaled(sum, own[slot] * factor, in.l + unit.channel(source), width);
    });
  }
}

struct Gradients {
  const float *out, *weights, *grad;
  float *used, *change;  // (units, slots): weights after dropout, and gradients of scores
  float *to_l, *to_r, *to_a;  // to_a: of each unit
};

void targets_of(const Operands& in, const Gradients& to, Dropout dropout, int64_t number, Room& room) {
  Unit unit(in.grid, number);
  Channels a(in.a + unit.head * in.grid.width, in.slope, in.grid.width, room);
  int64_t width = in.grid.width, first = number * in.slots();
  float *sum = room.take(width), *to_a = to.to_a + number * width;
  std::memset(to_a, 0, width * sizeof(float));
  for (int64_t i = 0; i < in.grid.positions; ++i) {
    int64_t node = unit.start + i, at = unit.channel(node);
    const float *r = in.r + at, *grad = to.grad + at;
    float mean = dot(to.out + at, grad, width);
    dropout.row(unit.scalar(node));
    std::memset(sum, 0, width * sizeof(float));
    sources_of(in, unit, i, [&](int64_t slot, int64_t j, int64_t source) {
      const float* l = in.l + unit.channel(source);
      float weight = to.weights[first + slot], factor = dropout.some ? dropout.factor(j) : 1;
      float change = weight * (dot(grad, l, width) * factor - mean);
      to.used[first + slot] = weight * factor;
      to.change[first + slot] = change;
      pass(sum, change, l, r, width);
    });
    for (int64_t c = 0; c < width; c += W) {
      V passed = load(sum + c) * (1 - in.slope);
      store(to.to_r + at + c, passed * load(in.a + unit.head * width + c));
      store(to_a + c, load(to_a + c) + passed * load(r + c));
    }
  }
}

// Reads the slots of other frames too: after those of all targets.
void sources_back(const Operands& in, const Gradients& to, int64_t number, Room& room) {
  Unit unit(in.grid, number);
  int64_t width = in.grid.width, positions = in.grid.positions;
  float *values = room.take(width), *passed = room.take(width), *to_a = to.to_a + number * width;
  const float* a = in.a + unit.head * width;
  for (int64_t j = 0; j < positions; ++j) {
    const float* l = in.l + unit.channel(unit.start + j);
    float given = 0;
    for (float* part : {values, passed}) std::memset(part, 0, width * sizeof(float));
    auto add = [&](int64_t slot, int64_t node) {
      given += to.change[slot];
      add_scaled(values, to.used[slot], to.grad + unit.channel(node), width);
      pass(passed, to.change[slot], l, in.r + unit.channel(node), width);
    };
    for (int64_t e = in.edges.back_first[j]; e < in.edges.back_first[j + 1]; ++e)
      add(number * in.slots() + in.edges.edge[e], unit.start + in.edges.target[e]);
    for (int64_t step = 0; step < in.grid.count; ++step)
      if (unit.has(-in.grid.steps[step])) {
        int64_t apart = -in.grid.steps[step];
        add((number + apart * in.grid.heads) * in.slots() + in.in_time(j, step), unit.start + j + apart * positions);
      }
    float* to_l = to.to_l + unit.channel(unit.start + j);
    for (int64_t c = 0; c < width; c += W) {
      V change = in.slope * given + (1 - in.slope) * load(passed + c);
      store(to_a + c, load(to_a + c) + change * load(l + c));
      store(to_l + c, load(values + c) + change * load(a + c));
    }
  }
}

// Calls f(number, room) for every unit, with so many floats of room. Returns 0, or 1 where there was no memory.
template <typename F>
int each(int64_t units, int threads, int64_t floats, F&& f) {
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1 && units > 1) reduction(| : failed)
  {
    Room room(floats);
    failed = room.failed();
#pragma omp for
    for (int64_t number = 0; number < units; ++number) {
      if (failed) continue;
      room.clear();
      f(number, room);
    }
  }
  return failed;
}

}  // namespace

// Return 0, or 1 where there was no memory. l, r, out (B, T, P, A, D), a (A, D), weights (B, T, A, slots).
extern "C" int taggnn_gatv2_edges_forward(const float* l, const float* r, const float* a, float* out, float* weights,
                                          int64_t clips, int64_t frames, int64_t positions, int64_t heads, int64_t width,
                                          const int64_t* steps, int64_t count, const int64_t* first, const int64_t* source,
                                          const int64_t* back_first, const int64_t* target, const int64_t* edge, int64_t edges,
                                          float slope, float dropout, int64_t seed, int threads) {
  Operands in{{clips, frames, positions, heads, width, count, steps}, {first, source, back_first, target, edge, edges},
              l, r, a, slope};
  Dropout dropped(dropout, seed);
  return each(in.grid.units(), threads, 2 * up(width, 16),
              [&](int64_t number, Room& room) { forward_of(in, dropped, number, room, out, weights); });
}

// used, change: (B, T, A, slots), room; to_a (B, T, A, D), the part of each frame.
extern "C" int taggnn_gatv2_edges_backward(const float* l, const float* r, const float* a, const float* out,
                                           const float* weights, const float* grad, float* used, float* change, float* to_l,
                                           float* to_r, float* to_a, int64_t clips, int64_t frames, int64_t positions,
                                           int64_t heads, int64_t width, const int64_t* steps, int64_t count,
                                           const int64_t* first, const int64_t* source, const int64_t* back_first,
                                           const int64_t* target, const int64_t* edge, int64_t edges, float slope, float dropout,
                                           int64_t seed, int threads) {
  Operands in{{clips, frames, positions, heads, width, count, steps}, {first, source, back_first, target, edge, edges},
              l, r, a, slope};
  Gradients to{out, weights, grad, used, change, to_l, to_r, to_a};
  Dropout dropped(dropout, seed);
  int64_t units = in.grid.units(), floats = 3 * up(width, 16);
  int failed = each(units, threads, floats, [&](int64_t number, Room& room) { targets_of(in, to, dropped, number, room); });
  return failed | each(units, threads, floats, [&](int64_t number, Room& room) { sources_back(in, to, number, room); });
}
