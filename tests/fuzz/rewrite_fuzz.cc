// Targets: split, matched and rewritten. What comes out is a target again, made of the same bytes.
#include <string>

#include "holdfast/http/syntax.h"
#include "holdfast/proxy/heads.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  Input input(data, size);
  const std::string_view prefix_line = input.line();
  const std::string_view line = input.rest();
  static_cast<void>(http::is_authority(line));
  static_cast<void>(http::parse_status_line(line));
  static_cast<void>(http::parse_field_line(line));
  const auto request = http::parse_request_line(line);
  if (!request) return 0;
  const auto target = http::split_target(request->target, http::Method::get);
  if (!target) return 0;
  const std::string_view rest = target->rest;
  promise(request->target.ends_with(rest), "what goes on is the end of what came");

  // A prefix as the configuration allows it.
  if (!prefix_line.starts_with('/') || prefix_line.find_first_of("?#") != prefix_line.npos)
    return 0;
  const std::string whole = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  const auto stripped = proxy::strip_target(whole, prefix_line);
  const std::string out = std::string(stripped.slash).append(stripped.rest);
  promise(out.starts_with('/'), "a path stays a path");
  promise(whole.ends_with(out) || whole.ends_with(out.substr(1)), "nothing is made up");
  return 0;
}
