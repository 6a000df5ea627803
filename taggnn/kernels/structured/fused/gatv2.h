// What the loops of GATv2 share: the weights of the channels in one head, for slope l + (1 - slope) max(l, -r).
#pragma once

#include "vectors.h"

namespace {

struct Channels {
  float *bent, *flat;

  // a: (D,) of the head.
  Channels(const float* a, float slope, int64_t width, Room& room) : bent(room.take(width)), flat(room.take(width)) {
    for (int64_t c = 0; c < width; ++c) {
      bent[c] = (1 - slope) * a[c];
      flat[c] = slope * a[c];
    }
  }
};

}  // namespace
