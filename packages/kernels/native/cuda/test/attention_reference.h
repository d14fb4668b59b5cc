// Attention weights of one query in float64.
#pragma once

#include <cmath>
#include <vector>

namespace test {

struct Weights {
  std::vector<double> p;
  double log_sum_exp;
};

// key_of(n) points at the n-th of `count` keys.
template <class KeyOf>
Weights attend(const double* query, std::size_t count, std::size_t head_dimension, double scale, KeyOf key_of) {
  Weights w;
  w.p.resize(count);
  double largest = -INFINITY, total = 0;
  for (std::size_t n = 0; n < count; n++) {
    const double* key = key_of(n);
    double dot = 0;
    for (std::size_t e = 0; e < head_dimension; e++) dot += query[e] * key[e];
    w.p[n] = dot * scale;
    largest = std::fmax(largest, w.p[n]);
  }
  for (double& p : w.p) total += p = std::exp(p - largest);
  for (double& p : w.p) p /= total;
  w.log_sum_exp = largest + std::log(total);
  return w;
}

}  // namespace test
