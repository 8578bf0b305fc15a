#include "holdfast/base/text_writer.h"

namespace holdfast {

// By more than is asked for, so that many small pieces make few moves.
void TextWriter::grow(std::size_t bytes) {
  out_.resize(out_.size() + size_ + bytes);
}

}  // namespace holdfast
