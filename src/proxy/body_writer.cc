#include "holdfast/proxy/body_writer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "holdfast/base/text.h"

namespace holdfast::proxy {
namespace {

constexpr std::size_t max_pieces_at_once = 32;

bool may_pass(const http::Field& field, const TrailerPass& trailers) {
  const bool allowed = std::ranges::any_of(
      trailers.allowed, [&](const std::string& name) { return iequals(name, field.name); });
  return allowed && !(trailers.head != nullptr &&
                      http::lists_token(*trailers.head, http::FieldName::connection, field.name));
}

/// What stands behind the pieces of one chunk: its end, and the end of the body.
void append_chunk_end(std::string& out, bool has_chunk, bool last, const TrailerPass& trailers) {
  if (has_chunk) out.append("\r\n");
  if (!last) return;
  out.append("0\r\n");
  if (trailers.fields != nullptr && !trailers.allowed.empty()) {
    for (const http::Field& field : *trailers.fields) {
      if (may_pass(field, trailers))
        out.append(field.name).append(": ").append(field.value).append("\r\n");
    }
  }
  out.append("\r\n");
}

}  // namespace

BodyMode request_body_mode(const http::Framing& framing) {
  switch (framing.kind) {
    case http::Framing::Kind::length:
      return BodyMode::length;
    case http::Framing::Kind::chunked:
      return BodyMode::chunked;
    default:
      return BodyMode::none;
  }
}

std::uint64_t write_body(net::Stream& stream, std::string_view head, BodyMode mode, Pieces pieces,
                         bool last, const TrailerPass& trailers) {
  std::uint64_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  if (mode == BodyMode::none) size = 0;

  std::array<std::string_view, max_pieces_at_once + 3> list;
  std::size_t count = 0;
  if (!head.empty()) list[count++] = head;

  std::array<char, 18> size_line;
  std::string end;  // short enough for no allocation unless there are trailers
  if (mode == BodyMode::chunked) {
    if (size > 0) {
      char* at = std::to_chars(size_line.data(), size_line.data() + 16, size, 16).ptr;
      *at++ = '\r';
      *at++ = '\n';
      list[count++] = {size_line.data(), static_cast<std::size_t>(at - size_line.data())};
    }
    append_chunk_end(end, size > 0, last, trailers);
  }
  std::string joined;
  if (size > 0 && pieces.size() <= max_pieces_at_once) {
    for (const std::string_view piece : pieces) list[count++] = piece;
  } else if (size > 0) {
    // Very many tiny chunks in one read: joining them is cheaper than a long vector of buffers.
    joined.reserve(size);
    for (const std::string_view piece : pieces) joined.append(piece);
    list[count++] = joined;
  }
  if (!end.empty()) list[count++] = end;
  if (count > 0) stream.send(Pieces(list.data(), count));
  return size;
}

}  // namespace holdfast::proxy
