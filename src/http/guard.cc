#include "holdfast/http/guard.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "holdfast/base/text.h"

namespace holdfast::http {
namespace {

enum class ByteClass : std::uint8_t { text, carriage_return, line_feed, control };

constexpr auto byte_classes = [] {
  std::array<ByteClass, 256> classes{};
  for (std::size_t byte = 0; byte < 0x20; ++byte) classes[byte] = ByteClass::control;
  classes[0x7f] = ByteClass::control;
  classes['\t'] = ByteClass::text;
  classes['\r'] = ByteClass::carriage_return;
  classes['\n'] = ByteClass::line_feed;
  return classes;
}();

ByteClass class_of(char c) {
  return byte_classes[static_cast<unsigned char>(c)];
}

#ifdef __SSE2__
/// Where in sixteen bytes the first control byte or DEL is; 16 if there is none.
std::size_t first_control(const char* sixteen) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(sixteen));
  const __m128i last_control = _mm_set1_epi8(0x1f);
  const __m128i is_control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
  const __m128i is_delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
  const int found = _mm_movemask_epi8(_mm_or_si128(is_control, is_delete));
  return static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(found) | 0x10000u));
}
#else
std::size_t first_control(const char* sixteen) {
  const char* const end = sixteen + 16;
  return static_cast<std::size_t>(
      std::find_if(sixteen, end,
                   [](char c) { return class_of(c) != ByteClass::text || c == '\t'; }) -
      sixteen);
}
#endif

/// How many bytes of plain text `input` begins with.
std::size_t text_length(std::string_view input) {
  std::size_t at = 0;
  while (input.size() - at >= 16) {
    const std::size_t plain = first_control(input.data() + at);
    at += plain;
    if (plain == 16) continue;
    if (input[at] != '\t') return at;
    ++at;
  }
  while (at < input.size() && class_of(input[at]) == ByteClass::text) ++at;
  return at;
}

// A head that needed more is the exception: its memory is given back before the next one.
constexpr std::size_t kept_capacity = 8 * 1024;

constexpr std::string_view line_end = "\r\n";

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

Unexpected<Refusal> refuse(std::string_view reason, Problem problem = Problem::bad_request) {
  return unexpected(Refusal{reason, problem});
}

}  // namespace

Result<LineScanner::Step, Refusal> LineScanner::scan(std::string_view input) {
  std::size_t at = 0;
  if (!after_cr_) {
    at = text_length(input);
    if (at == input.size()) return Step{false, at};
    if (input[at] == '\n') return refuse("a line ends without CR");
    if (input[at] != '\r') return refuse("a control character stands in a line");
    after_cr_ = true;
    if (++at == input.size()) return Step{false, at};
  } else if (input.empty()) {
    return Step{false, 0};
  }
  if (input[at] != '\n') return refuse("a CR stands without LF");
  after_cr_ = false;
  return Step{true, at + 1};
}

void HeadReader::begin(const SectionLimits& limits) {
  limits_ = limits;
  scanner_.begin();
  if (text_.capacity() > kept_capacity) text_ = std::string();
  if (field_ends_.capacity() * sizeof(std::size_t) > kept_capacity) {
    field_ends_ = std::vector<std::size_t>();
  }
  text_.clear();
  line_begin_ = 0;
  start_line_size_ = 0;
  field_ends_.clear();
  empty_lines_ = 0;
}

Result<HeadReader::Step, Refusal> HeadReader::read(std::string_view input) {
  std::size_t consumed = 0;
  while (consumed < input.size()) {
    const std::string_view window = input.substr(consumed, room());
    if (window.empty()) return unexpected(too_large());
    const auto step = scanner_.scan(window);
    if (!step) {
      text_.append(window.substr(0, text_length(window)));  // to tell who is refused
      return unexpected(step.error());
    }
    text_.append(window.substr(0, step->consumed));
    consumed += step->consumed;
    if (!step->line_ended) continue;
    const auto event = end_line();
    if (!event) return unexpected(event.error());
    if (*event != Event::need_more) return Step{*event, consumed};
  }
  return Step{Event::need_more, consumed};
}

/// How many more bytes the present line may have, its end included.
std::size_t HeadReader::room() const {
  const std::size_t in_section = limits_.bytes - std::min(limits_.bytes, text_.size());
  if (!in_start_line()) return in_section;
  return std::min(in_section, limits_.start_line_bytes + line_end.size() - text_.size());
}

Refusal HeadReader::too_large() const {
  if (text_.size() < limits_.bytes) {
    return {"the request line is longer than the limit", Problem::uri_too_long};
  }
  return {"the fields are larger than the limit", Problem::headers_too_large};
}

Result<HeadReader::Event, Refusal> HeadReader::end_line() {
  const std::size_t size = text_.size() - line_begin_ - line_end.size();
  if (in_start_line()) return end_start_line(size);
  line_begin_ = text_.size();
  if (size == 0) return Event::end;
  if (field_ends_.size() == limits_.fields) {
    return refuse("there are more fields than the limit", Problem::headers_too_large);
  }
  field_ends_.push_back(line_begin_);
  return Event::need_more;
}

Result<HeadReader::Event, Refusal> HeadReader::end_start_line(std::size_t size) {
  if (size > 0) {
    start_line_size_ = size;
    line_begin_ = text_.size();
    return Event::start_line;
  }
  if (++empty_lines_ > limits_.empty_lines)
    return refuse("an empty line stands before the message");
  text_.clear();
  return Event::need_more;
}

Result<std::uint32_t, Refusal> HeadReader::parse_fields(Fields& fields,
                                                        UnderscorePolicy underscores) const {
  std::uint32_t dropped = 0;
  std::size_t begin = limits_.start_line_bytes != 0 ? start_line_size_ + line_end.size() : 0;
  for (const std::size_t end : field_ends_) {
    const auto field = parse_field_line(text().substr(begin, end - begin - line_end.size()));
    if (!field) return unexpected(field.error());
    begin = end;
    if (underscores == UnderscorePolicy::pass || field->name.find('_') == field->name.npos) {
      fields.add(field->name, field->value);
    } else if (underscores == UnderscorePolicy::drop) {
      ++dropped;
    } else {
      return refuse("a field name contains an underscore");
    }
  }
  return dropped;
}

void ChunkScanner::begin(const Limits& limits) {
  limits_ = limits;
  state_ = State::size_start;
  size_ = 0;
  digits_ = 0;
  extension_bytes_ = 0;
  announced_ = 0;
  left_ = 0;
  trailers_.begin({.bytes = max_trailer_bytes, .fields = limits.trailer_fields});
}

Result<ChunkScanner::Step, Refusal> ChunkScanner::scan(std::string_view input) {
  if (input.empty() || state_ == State::done) return Step{state_ == State::done, 0, {}};
  const Part part = part_of(input.front());
  std::size_t at = 0;
  while (at < input.size() && state_ != State::done && part_of(input[at]) == part) {
    const auto consumed = advance(input.substr(at));
    if (!consumed) return unexpected(consumed.error());
    at += *consumed;
  }
  const bool done = state_ == State::done;
  if (part == Part::chunks) return Step{done, at, input.substr(0, at)};
  return Step{done, at, done ? trailers_.text() : std::string_view{}};
}

/// True where a chunk line may end, or another extension begin.
bool ChunkScanner::may_end_extension() const {
  return state_ == State::extension_name || state_ == State::value || state_ == State::quoted_end ||
         state_ == State::size;
}

/// An extension reaches from its semicolon to the end of the line, which is not part of it.
ChunkScanner::Part ChunkScanner::part_of(char next) const {
  if (state_ == State::trailers) return Part::trailers;
  if (state_ == State::size) return next == ';' ? Part::extension : Part::chunks;
  const bool within = state_ >= State::extension_start && state_ <= State::quoted_end;
  const bool ends = next == '\r' && may_end_extension();
  return within && !ends ? Part::extension : Part::chunks;
}

/// As many bytes as the present state takes in one go.
Result<std::size_t, Refusal> ChunkScanner::advance(std::string_view input) {
  if (state_ == State::data) return skip_data(input.size());
  if (state_ == State::trailers) {
    const auto step = trailers_.read(input);
    if (!step) return unexpected(step.error());
    if (step->event == HeadReader::Event::end) state_ = State::done;
    return step->consumed;
  }
  const auto accepted = framing_byte(input.front());
  if (!accepted) return unexpected(accepted.error());
  return std::size_t{1};
}

std::size_t ChunkScanner::skip_data(std::size_t available) {
  const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(available, left_));
  left_ -= taken;
  if (left_ == 0) state_ = State::data_carriage_return;
  return taken;
}

Result<void, Refusal> ChunkScanner::framing_byte(char c) {
  switch (state_) {
    case State::size_start:
    case State::size:
      return size_byte(c);
    case State::size_line_feed:
    case State::data_carriage_return:
    case State::data_line_feed:
      return line_end_byte(c);
    default:
      return extension_byte(c);
  }
}

Result<void, Refusal> ChunkScanner::size_byte(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0) {
    if (++digits_ > max_chunk_size_digits) return refuse("a chunk size has too many digits");
    size_ = size_ * 16 + static_cast<std::uint64_t>(digit);
    state_ = State::size;
    return {};
  }
  if (state_ == State::size_start) return refuse("a chunk has no size");
  if (c == ';') return extension_byte(c);
  if (c != '\r') return refuse("a chunk size is not a hexadecimal number");
  state_ = State::size_line_feed;
  return {};
}

Result<void, Refusal> ChunkScanner::extension_byte(char c) {
  if (++extension_bytes_ > max_chunk_extension_bytes)
    return refuse("chunk extensions are too long");
  if (!next_extension_state(c)) return refuse("a chunk extension is malformed");
  return {};
}

/// chunk-ext = *( ";" token [ "=" ( token / quoted-string ) ] ), without the white space that
/// RFC 9112 §7.1.1 calls bad: no sender makes it, and readers differ about it.
bool ChunkScanner::next_extension_state(char c) {
  if (may_end_extension() && (c == ';' || c == '\r')) {
    state_ = c == ';' ? State::extension_start : State::size_line_feed;
    return true;
  }
  switch (state_) {
    case State::extension_start:
      state_ = State::extension_name;
      return is_token_char(c);
    case State::extension_name:
      if (c == '=') state_ = State::value_start;
      return c == '=' || is_token_char(c);
    case State::value_start:
      state_ = c == '"' ? State::quoted : State::value;
      return c == '"' || is_token_char(c);
    case State::value:
      return is_token_char(c);
    case State::quoted:
      if (c == '"') state_ = State::quoted_end;
      if (c == '\\') state_ = State::quoted_pair;
      return class_of(c) == ByteClass::text;
    case State::quoted_pair:
      state_ = State::quoted;
      return class_of(c) == ByteClass::text;
    default:
      return false;
  }
}

Result<void, Refusal> ChunkScanner::line_end_byte(char c) {
  const bool expects_cr = state_ == State::data_carriage_return;
  if (c != (expects_cr ? '\r' : '\n')) return refuse("a chunk does not end with CRLF");
  if (expects_cr) {
    state_ = State::data_line_feed;
    return {};
  }
  if (state_ == State::size_line_feed) return end_size_line();
  state_ = State::size_start;
  return {};
}

Result<void, Refusal> ChunkScanner::end_size_line() {
  const std::uint64_t size = std::exchange(size_, 0);
  digits_ = 0;
  if (size > max_length - announced_ || announced_ + size > limits_.body_bytes) {
    return refuse("the body is larger than the limit", Problem::content_too_large);
  }
  announced_ += size;
  left_ = size;
  state_ = size == 0 ? State::trailers : State::data;
  return {};
}

}  // namespace holdfast::http
