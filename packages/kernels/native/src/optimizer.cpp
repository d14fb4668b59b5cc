#include <vector>

#include "chunks.h"
#include "xgen/operations.h"

namespace xgen {

namespace {
struct Piece {
  std::size_t tensor, begin, end;
};

template <class T>
std::vector<Piece> pieces_of(const T* tensors, std::size_t count) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < count; i++) {
    for (std::size_t begin = 0; begin < tensors[i].count; begin += kRangeChunk) {
      pieces.push_back({i, begin, std::min(tensors[i].count, begin + kRangeChunk)});
    }
  }
  return pieces;
}
}  // namespace

void adam_w(const AdamWTensor* tensors, std::size_t count, AdamWParameters parameters) {
  const KernelTable& t = kernels();
  const std::vector<Piece> pieces = pieces_of(tensors, count);
  parallel_for(pieces.size(), [&](std::size_t i) {
    const Piece& piece = pieces[i];
    const AdamWTensor& tensor = tensors[piece.tensor];
    AdamWParameters own = parameters;
    own.weight_decay = tensor.weight_decay;
    t.adam_w(tensor.parameter + piece.begin, tensor.gradient + piece.begin, tensor.first + piece.begin,
             tensor.second + piece.begin, piece.end - piece.begin, own);
  });
}

double global_norm(const GradientRange* gradients, std::size_t count) {
  const KernelTable& t = kernels();
  const std::vector<Piece> pieces = pieces_of(gradients, count);
  std::vector<double> squares(pieces.size());
  parallel_for(pieces.size(), [&](std::size_t i) {
    squares[i] = t.sum_of_squares(gradients[pieces[i].tensor].data + pieces[i].begin, pieces[i].end - pieces[i].begin);
  });
  double total = 0;
  for (const double square : squares) total += square;
  return __builtin_sqrt(total);
}

}  // namespace xgen
