// The table of crooked and straight messages: one case a line of cases.jsonl, with what is sent by
// the client and by the upstream, and what may come of it.
//
// Contract: byte strings stand in the table with \r \n \t \\ \xHH and {rep:N:TEXT}; {port} is
// holdfast's port and {run} a number that no other run has. They are expanded by decoded(), as late
// as possible, for some are a mebibyte long.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/eventually.h"

namespace holdfast::testing {

/// Bytes, and how long the client waits before it sends them unless something comes to it first.
struct Segment {
  std::string bytes;
  Milliseconds after{0};
};

struct WireCase {
  std::string id;
  std::string description;
  std::string source;  // what asks for it: a section of an RFC, mostly

  std::vector<Segment> segments;  // one, unless the table has `segments`
  bool in_segments = false;
  std::string end;  // "", fin, rst, hold
  bool client_reads = true;
  std::string max_ms;  // the time limit that ends it, by name; "" if none does

  std::optional<std::string> upstream_bytes;  // none: a plain 200
  std::string upstream_when;                  // "", head, connect
  std::string then;                           // "", fin, rst, hang
  bool fault_once = false;
  std::optional<Segment> upstream_after;  // sent when the connection is idle again

  std::optional<std::string> follow_up;
  Milliseconds follow_up_after{0};
  std::optional<bool> connection_reused;

  std::string expect;
  std::vector<std::string> outcomes;  // `expect` and `accept_also`
  std::optional<int> status;          // of the first answer, where holdfast has settled it
  std::optional<std::size_t> upstream_count;
  std::optional<std::size_t> upstream_complete;
  std::string never;  // no request upstream has a target that begins so
  bool must_close = false;
  bool must_close_or_drain = false;
  nlohmann::json patterns;  // the whole line: fwd_must and its like are read where they are checked

  /// Of the request, expanded: how a reader knows whether an answer has a body.
  std::string method() const;
  /// True if it waits for a time limit, so that running it often would only take long.
  bool is_slow() const;
  std::vector<std::string> pattern_list(const char* key) const;
};

std::vector<WireCase> read_cases(const std::string& file);

std::string decoded(std::string_view text, std::string_view port, std::string_view run);

/// How bytes are cut into writes.
struct Cutting {
  enum class Way { whole, bytewise, random };
  Way way = Way::whole;
  unsigned seed = 0;

  std::string name() const;
  /// The pieces, in order. Of a long text only the beginning is cut small.
  std::vector<std::string_view> cut(std::string_view bytes) const;
};

}  // namespace holdfast::testing
