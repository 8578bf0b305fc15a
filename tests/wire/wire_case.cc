#include "tests/wire/wire_case.h"

#include <algorithm>
#include <fstream>
#include <random>
#include <stdexcept>

namespace holdfast::testing {
namespace {

using nlohmann::json;

constexpr std::size_t finely_cut = 2048;

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Expands {rep:N:TEXT}; TEXT has no braces.
std::string expand_repetitions(std::string text) {
  constexpr std::string_view mark = "{rep:";
  for (auto at = text.find(mark); at != text.npos; at = text.find(mark, at)) {
    const auto colon = text.find(':', at + mark.size());
    const auto end = text.find('}', colon);
    const std::string piece = text.substr(colon + 1, end - colon - 1);
    std::string expanded;
    for (int left = std::stoi(text.substr(at + mark.size())); left > 0; --left) expanded += piece;
    text.replace(at, end - at + 1, expanded);
  }
  return text;
}

/// Expands \r \n \t \\ \xHH.
std::string unescape(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      bytes += text[at];
      continue;
    }
    switch (text[++at]) {
      case 'r':
        bytes += '\r';
        break;
      case 'n':
        bytes += '\n';
        break;
      case 't':
        bytes += '\t';
        break;
      case 'x':
        bytes += static_cast<char>(std::stoi(std::string(text.substr(at + 1, 2)), nullptr, 16));
        at += 2;
        break;
      default:
        bytes += text[at];
    }
  }
  return bytes;
}

Segment segment(const json& pair, std::size_t bytes, std::size_t delay) {
  return {pair.at(bytes).get<std::string>(), Milliseconds(pair.at(delay).get<int>())};
}

template <typename Value>
std::optional<Value> optional_value(const json& line, const char* key) {
  if (!line.contains(key)) return std::nullopt;
  return line[key].get<Value>();
}

void read_client_side(WireCase& one, const json& line) {
  one.in_segments = line.contains("segments");
  if (one.in_segments) {
    for (const json& pair : line["segments"]) one.segments.push_back(segment(pair, 0, 1));
  } else {
    one.segments.push_back({line.at("request_bytes").get<std::string>()});
  }
  one.end = line.value("end", "");
  one.client_reads = line.value("client_reads", true);
  one.max_ms = line.value("max_ms", "");
  one.follow_up = optional_value<std::string>(line, "followup_request_bytes");
  one.follow_up_after = Milliseconds(line.value("followup_delay_ms", 0));
}

void read_upstream_side(WireCase& one, const json& line) {
  one.upstream_bytes = optional_value<std::string>(line, "upstream_response_bytes");
  one.upstream_when = line.value("upstream_when", "");
  one.then = line.value("then", line.value("upstream_fault", ""));
  one.fault_once = line.value("upstream_fault_once", false);
  if (line.contains("upstream_after")) one.upstream_after = segment(line["upstream_after"], 1, 0);
}

void read_expectations(WireCase& one, const json& line) {
  one.expect = line.at("expect");
  one.outcomes = line.value("accept_also", std::vector<std::string>{});
  one.outcomes.push_back(one.expect);
  one.status = optional_value<int>(line, "status");
  one.upstream_count = optional_value<std::size_t>(line, "upstream_count");
  one.upstream_complete = optional_value<std::size_t>(line, "upstream_complete");
  one.connection_reused = optional_value<bool>(line, "upstream_conn_reused");
  one.never = line.value("never", "/canary");
  one.must_close = line.value("must_close", false);
  one.must_close_or_drain = line.value("must_close_or_drain", false);
  one.patterns = line;
}

}  // namespace

std::string WireCase::method() const {
  const std::string& first = segments.front().bytes;
  return first.starts_with("HEAD ") ? "HEAD" : "GET";
}

bool WireCase::is_slow() const {
  constexpr int request_timeout = 408;
  return in_segments || then == "hang" || status == request_timeout || !max_ms.empty() ||
         follow_up_after > 0ms;
}

std::vector<std::string> WireCase::pattern_list(const char* key) const {
  return patterns.value(key, std::vector<std::string>{});
}

std::vector<WireCase> read_cases(const std::string& file) {
  std::ifstream table(file);
  if (!table.is_open()) throw std::runtime_error("cannot read " + file);
  std::vector<WireCase> cases;
  for (std::string text; std::getline(table, text);) {
    const json line = json::parse(text);
    WireCase one;
    one.id = line.at("id");
    one.description = line.at("description");
    one.source = line.at("source");
    if (!line.contains("load")) {
      read_client_side(one, line);
      read_upstream_side(one, line);
    }
    read_expectations(one, line);
    cases.push_back(std::move(one));
  }
  return cases;
}

std::string decoded(std::string_view text, std::string_view port, std::string_view run) {
  std::string expanded = expand_repetitions(std::string(text));
  expanded = replace_all(std::move(expanded), "{port}", port);
  return unescape(replace_all(std::move(expanded), "{run}", run));
}

std::string Cutting::name() const {
  if (way == Way::whole) return "in one write";
  if (way == Way::bytewise) return "byte by byte";
  return "cut by seed " + std::to_string(seed);
}

std::vector<std::string_view> Cutting::cut(std::string_view bytes) const {
  std::vector<std::string_view> pieces;
  std::mt19937 engine(seed);
  std::string_view rest = bytes;
  while (way != Way::whole && bytes.size() - rest.size() < finely_cut && !rest.empty()) {
    // Short pieces and long ones alike: a cut next to a cut is where readers stumble.
    const std::size_t longest = std::size_t{1} << (engine() % 7);
    const std::size_t size = way == Way::bytewise ? 1 : 1 + engine() % longest;
    pieces.push_back(rest.substr(0, size));
    rest.remove_prefix(pieces.back().size());
  }
  if (!rest.empty()) pieces.push_back(rest);
  return pieces;
}

}  // namespace holdfast::testing
