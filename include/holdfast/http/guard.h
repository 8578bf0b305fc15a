// The guard: raw scans that stand before and beside llhttp (wire.md G1, G8, G9).
//
// LineScanner finds the end of one line and refuses every byte that some reader takes for a line
// end. HeadReader collects a start line and field lines within bounds; SectionLimits says which
// bounds. ChunkScanner follows a chunked body from its first size line to the end of its trailer
// section.
//
// Contract: each takes bytes in any cut; what it accepts, and the Refusal otherwise, depend on the
// bytes alone, because every rule is applied at the first byte that breaks it. After a Refusal the
// object is of no more use until begin(). Ownership: HeadReader copies what it reads; views of it
// are valid until the next read() or begin(). The others keep nothing but counters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/http/fields.h"
#include "holdfast/http/parser.h"
#include "holdfast/http/syntax.h"

namespace holdfast::http {

/// No length may go beyond this, so that sums of two lengths cannot overflow.
inline constexpr std::uint64_t max_length = INT64_MAX;

class LineScanner {
 public:
  struct Step {
    bool line_ended;
    std::size_t consumed;
  };

  /// Reads to the end of the present line, or to the end of `input`.
  Result<Step, Refusal> scan(std::string_view input);
  void begin() { after_cr_ = false; }

 private:
  bool after_cr_ = false;
};

/// Bounds of a head or of a trailer section.
struct SectionLimits {
  std::size_t start_line_bytes = 0;  // without its line end; 0: there is no start line
  std::size_t bytes = 0;             // all lines with their ends
  std::size_t fields = 0;
  std::size_t empty_lines = 0;  // tolerated before the start line
};

class HeadReader {
 public:
  enum class Event : std::uint8_t { need_more, start_line, end };
  struct Step {
    Event event;
    std::size_t consumed;
  };

  /// Stops after the start line and after the empty line that ends the section.
  Result<Step, Refusal> read(std::string_view input);
  void begin(const SectionLimits& limits);

  /// True once a byte was read that is no empty line before the start line.
  bool started() const { return !text_.empty() && text_.front() != '\r'; }
  /// REQUIRES: Event::start_line was reported.
  std::string_view start_line() const { return text().substr(0, start_line_size_); }
  /// All bytes of the section so far.
  std::string_view text() const { return text_; }
  std::size_t field_count() const { return field_ends_.size(); }
  /// Adds the field lines to `fields`, which then point into this object; says how many were
  /// dropped. REQUIRES: Event::end was reported.
  Result<std::uint32_t, Refusal> parse_fields(Fields& fields, UnderscorePolicy underscores) const;

 private:
  std::size_t room() const;
  Refusal too_large() const;
  bool in_start_line() const { return limits_.start_line_bytes != 0 && start_line_size_ == 0; }
  Result<Event, Refusal> end_line();
  Result<Event, Refusal> end_start_line(std::size_t size);

  SectionLimits limits_;
  LineScanner scanner_;
  std::string text_;
  std::size_t line_begin_ = 0;
  std::size_t start_line_size_ = 0;
  std::vector<std::size_t> field_ends_;  // where in text_ each field line ends
  std::size_t empty_lines_ = 0;
};

class ChunkScanner {
 public:
  struct Limits {
    std::uint64_t body_bytes = max_length;
    std::size_t trailer_fields = 0;
  };
  struct Step {
    bool done;
    std::size_t consumed;
    /// What a second reader has to see of it: nothing of a chunk extension, which means nothing to
    /// anyone here, and a trailer section when it is whole, so that its verdict, too, does not
    /// depend on the cut.
    std::string_view shown;
  };

  /// Reads to the end of the body with its trailer section, to the end of `input`, or to where
  /// another part of the body begins.
  Result<Step, Refusal> scan(std::string_view input);
  void begin(const Limits& limits);

  /// Bytes of chunk data seen so far.
  std::uint64_t data_bytes() const { return announced_ - left_; }
  /// REQUIRES: Step::done was reported. As HeadReader::parse_fields.
  Result<std::uint32_t, Refusal> parse_trailers(Fields& trailers) const {
    return trailers_.parse_fields(trailers, UnderscorePolicy::pass);
  }

 private:
  enum class State : std::uint8_t {
    size_start,
    size,
    extension_start,
    extension_name,
    value_start,
    value,
    quoted,
    quoted_pair,
    quoted_end,
    size_line_feed,
    data,
    data_carriage_return,
    data_line_feed,
    trailers,
    done,
  };
  enum class Part : std::uint8_t { chunks, extension, trailers };

  Result<std::size_t, Refusal> advance(std::string_view input);
  Result<void, Refusal> framing_byte(char c);
  Result<void, Refusal> size_byte(char c);
  Result<void, Refusal> extension_byte(char c);
  Result<void, Refusal> line_end_byte(char c);
  bool may_end_extension() const;
  Part part_of(char next) const;
  bool next_extension_state(char c);
  Result<void, Refusal> end_size_line();
  std::size_t skip_data(std::size_t available);

  Limits limits_;
  State state_ = State::size_start;
  std::uint64_t size_ = 0;
  std::size_t digits_ = 0;
  std::size_t extension_bytes_ = 0;
  std::uint64_t announced_ = 0;  // sum of the chunk sizes
  std::uint64_t left_ = 0;       // of the present chunk
  HeadReader trailers_;
};

}  // namespace holdfast::http
