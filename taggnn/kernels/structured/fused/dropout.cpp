// The weights that dropout keeps, written out: what a gradient that is differentiated again needs.
#include "vectors.h"

// keep: (rows, columns), 1 for a weight that is kept.
extern "C" int taggnn_keep(uint8_t* keep, int64_t rows, int64_t columns, float dropout, int64_t seed, int) {
  Dropout dropped(dropout, seed);
  for (int64_t row = 0; row < rows; ++row) {
    dropped.row(row);
    for (int64_t j = 0; j < columns; ++j) keep[row * columns + j] = dropped.factor(j) != 0;
  }
  return 0;
}

// The compiler, and how many numbers a vector has.
extern "C" const char* taggnn_built_by() {
#define TEXT(x) #x
#define NUMBER(x) TEXT(x)
#if defined(__clang__)
  static const char text[] = "clang " NUMBER(__clang_major__) "." NUMBER(__clang_minor__)
#else
  static const char text[] = "gcc " NUMBER(__GNUC__) "." NUMBER(__GNUC_MINOR__)
#endif
#if defined(__AVX512F__)
      " (AVX-512)";
#elif defined(__AVX__)
      " (AVX)";
#else
      "";
#endif
  return text;
}
