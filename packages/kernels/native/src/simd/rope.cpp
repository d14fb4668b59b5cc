#include "rows.h"
#include "xgen/memory.h"

namespace xgen::XGEN_VARIANT {

namespace {

// The angle is a float32 (as Hugging Face has it), reduced by multiples of pi/2 in float64: positions reach 10^5, where float32
// would lose the fraction of a turn. Two minimax polynomials then serve all quadrants.
XGEN_INLINE void sine_cosine(Vec float_angle, Vec& sine, Vec& cosine) {
  const DoubleVec angle = __builtin_convertvector(float_angle, DoubleVec);
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const DoubleVec shifted = angle * 0.63661977236758134308 + magic;
  const DoubleVec n = shifted - magic;
  const DoubleVec reduced = (angle - n * 1.5707963267341256) - n * 6.0771005065061922e-11;
  const LongVec quadrant = reinterpret_cast<LongVec>(shifted) & 3;
  const Vec r = __builtin_convertvector(reduced, Vec);
  const IntVec q = __builtin_convertvector(quadrant, IntVec);
  const Vec z = r * r;
  const Vec s = r + r * z * (-0.16666650772094727f + z * (0.008331973105669022f + z * -0.00019494950538501143f));
  const Vec c = 1.0f - 0.5f * z + z * z * (0.04166664555668831f + z * (-0.001388736185617745f + z * 2.4437729734927416e-05f));
  const IntVec swap = (q & 1) != 0;
  const Vec a = swap ? c : s;
  const Vec b = swap ? s : c;
  sine = (q & 2) != 0 ? -a : a;
  cosine = ((q + 1) & 2) != 0 ? -b : b;
}

XGEN_INLINE void rotate(const float* x, float* y, std::size_t half, Vec cosine, Vec sine, std::size_t i, std::size_t count) {
  if (count == kWidth) {
    const Vec a = load(x + i), b = load(x + half + i);
    store(y + i, a * cosine - b * sine);
    store(y + half + i, b * cosine + a * sine);
  } else {
    const Vec a = load_first(x + i, count), b = load_first(x + half + i, count);
    store_first(y + i, a * cosine - b * sine, count);
    store_first(y + half + i, b * cosine + a * sine, count);
  }
}

}  // namespace

void rope(const float* x, float* y, const std::int32_t* positions, const float* inverse_frequencies, std::size_t rows,
          std::size_t width, std::size_t rotated_heads, std::size_t head_dimension, float scaling, bool inverse) {
  const std::size_t half = head_dimension / 2;
  const std::size_t rotated = rotated_heads * head_dimension;
  const float sign = inverse ? -scaling : scaling;
  for (std::size_t row = 0; row < rows; row++, x += width, y += width) {
    const float position = static_cast<float>(positions[row]);
    for (std::size_t i = 0; i < half; i += kWidth) {
      const std::size_t count = half - i < kWidth ? half - i : kWidth;
      const Vec frequencies = load_first(inverse_frequencies + i, count);
      Vec sine, cosine;
      sine_cosine(frequencies * position, sine, cosine);
      sine *= sign;
      cosine *= scaling;
      for (std::size_t head = 0; head < rotated; head += head_dimension) {
        rotate(x + head, y + head, half, cosine, sine, i, count);
      }
    }
    std::size_t i = rotated;
    for (; i + kWidth <= width; i += kWidth) store(y + i, load(x + i));
    for (; i < width; i++) y[i] = x[i];
  }
}

}  // namespace xgen::XGEN_VARIANT
