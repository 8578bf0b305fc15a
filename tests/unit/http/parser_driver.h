// Drives a parser with one sequence of bytes in a given cut and writes down what it reported.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/http/parser.h"

namespace holdfast::http::test {

/// The sizes in which bytes arrive; the last one repeats.
using Cut = std::vector<std::size_t>;

inline const Cut one_write = {static_cast<std::size_t>(-1)};
inline const Cut byte_by_byte = {1};

inline Cut random_cut(unsigned seed, std::size_t pieces) {
  std::mt19937 random(seed);
  Cut cut;
  while (cut.size() < pieces) cut.push_back(1 + random() % 40);
  return cut;
}

/// What was read: every head and body that came to its end, and how it stopped.
struct Transcript {
  std::vector<std::string> heads;   // a request's target, a response's status
  std::vector<std::string> bodies;  // of complete messages
  std::string refusal;              // a problem's name, or the detail of a response's error
  std::string left;                 // bytes that no parse() took
  bool incomplete = false;          // a message has begun and not ended

  bool operator==(const Transcript&) const = default;
};

/// Hands `input` over in pieces as a connection does: what was not consumed is passed again.
/// step(pending) returns false when nothing more can be read.
template <class Step>
void feed(std::string_view input, const Cut& cut, Transcript& seen, Step step) {
  std::size_t at = 0;
  for (std::size_t piece = 0; at < input.size(); ++piece) {
    const std::string_view bytes = input.substr(at, cut[std::min(piece, cut.size() - 1)]);
    seen.left += bytes;
    at += bytes.size();
    if (!step(seen.left)) break;
  }
  seen.left += input.substr(at);
}

/// Reads requests until one is refused or asks for the connection's end.
inline Transcript read_requests(std::string_view input, const Cut& cut,
                                const ParserLimits& limits = {}) {
  RequestParser parser(limits);
  Transcript seen;
  std::string body;
  feed(input, cut, seen, [&](std::string& pending) {
    for (;;) {
      const auto step = parser.parse(pending);
      if (!step) {
        seen.refusal = name(step.error().problem);
        return false;
      }
      for (const std::string_view piece : parser.body()) body += piece;
      if (step->event == ParseEvent::head) seen.heads.emplace_back(parser.head().target);
      pending.erase(0, step->consumed);
      if (step->event == ParseEvent::complete) {
        seen.bodies.push_back(std::exchange(body, ""));
        if (!parser.head().keep_alive) return false;
        parser.begin();
      } else if (step->event != ParseEvent::head && pending.empty()) {
        return true;
      }
    }
  });
  const bool at_end = !seen.bodies.empty() && seen.bodies.size() == seen.heads.size();
  seen.incomplete = seen.refusal.empty() && parser.started() && !at_end;
  return seen;
}

/// Reads one response, and its connection's end if `then_closed`.
inline Transcript read_response(std::string_view input, const Cut& cut, Method request_method,
                                bool then_closed, bool upgrade = false) {
  ResponseParser parser(ParserLimits{});
  parser.begin(request_method, upgrade);
  Transcript seen;
  std::string body;
  bool complete = false;
  feed(input, cut, seen, [&](std::string& pending) {
    for (;;) {
      const auto step = parser.parse(pending);
      if (!step) {
        seen.refusal = step.error().detail;
        return false;
      }
      for (const std::string_view piece : parser.body()) body += piece;
      if (step->event == ParseEvent::head) {
        seen.heads.push_back(std::to_string(parser.head().status));
      }
      pending.erase(0, step->consumed);
      complete = step->event == ParseEvent::complete;
      if (complete) return false;
      if (step->event != ParseEvent::head && pending.empty()) return true;
    }
  });
  if (!complete && seen.refusal.empty() && then_closed) complete = parser.finish().has_value();
  if (complete) seen.bodies.push_back(body);
  seen.incomplete = !complete && seen.refusal.empty();
  return seen;
}

}  // namespace holdfast::http::test
