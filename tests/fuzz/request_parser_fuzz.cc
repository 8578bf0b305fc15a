// Requests: the verdict does not depend on the cut, what is accepted is unambiguous, and what is
// sent on for it is read as the same request.
#include <string>

#include "holdfast/http/parser.h"
#include "holdfast/proxy/heads.h"
#include "tests/fuzz/fuzz.h"

namespace holdfast::fuzz {
namespace {

http::ParserLimits small_limits() {
  http::ParserLimits limits;
  limits.max_target_bytes = 512;
  limits.max_header_bytes = 4096;
  limits.max_headers = 16;
  limits.max_body_bytes = 8192;
  return limits;
}

void check(const http::RequestHead& head) {
  promise(http::is_token(head.method_text), "a method is a token");
  promise(!head.target.empty() && (head.target[0] == '/' || head.target == "*"),
          "a target is a path or *");
  promise(head.minor_version == 0 || head.minor_version == 1, "HTTP/1.0 or 1.1");
  promise(head.minor_version == 0 || !head.authority.empty(), "HTTP/1.1 has a host");
  for (const http::Field& field : head.fields) {
    promise(http::is_token(field.name), "a name is a token");
    promise(http::is_field_value(field.value), "a value has no control bytes");
  }
}

/// What the proxy would send for this head is one request, and the same.
void check_sent_on(const http::RequestHead& head) {
  proxy::RequestEdits edits;
  edits.server_name = "holdfast";
  edits.host = head.authority.empty() ? std::string_view("upstream") : head.authority;
  edits.request_id = "id";
  edits.client_ip = "192.0.2.1";
  edits.body = head.framing.kind == http::Framing::Kind::chunked  ? proxy::BodyMode::chunked
               : head.framing.kind == http::Framing::Kind::length ? proxy::BodyMode::length
                                                                  : proxy::BodyMode::none;
  edits.body_length = head.framing.length;
  std::string sent;
  proxy::append_upstream_head(sent, head, edits);
  http::RequestParser again{http::ParserLimits{}};
  const auto step = again.parse(sent);
  promise(step.has_value() && step->event == http::ParseEvent::head,
          "what is sent on is a request");
  promise(step->consumed == sent.size(), "what is sent on is one head");
  promise(again.head().method_text == head.method_text, "the method stays");
  promise(again.head().target == head.target, "the target stays, byte for byte");
  promise(again.head().framing.has_body() == head.framing.has_body(), "the framing stays");
}

/// Everything that was read, as one text. Of a message that is refused in the end its body is left
/// out: how much of it was told before depends on the cut.
std::string read(std::string_view bytes, std::size_t step) {
  http::RequestParser parser(small_limits());
  Cuts cuts(bytes, step);
  std::string told;
  std::string body;
  for (;;) {
    const auto parsed = parser.parse(cuts.input());
    if (!parsed) return told + "refused: " + std::string(http::name(parsed.error().problem));
    for (const std::string_view piece : parser.body()) body += piece;
    cuts.consume(parsed->consumed);
    if (parsed->event == http::ParseEvent::head) {
      const http::RequestHead& head = parser.head();
      check(head);
      check_sent_on(head);
      told.append("head ").append(head.method_text).append(" ").append(head.target).append("\n");
    } else if (parsed->event == http::ParseEvent::complete) {
      told += body + "complete\n";
      body.clear();
      parser.begin();
    } else if (!cuts.next()) {
      return told + body + "more";
    }
  }
}

}  // namespace
}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast::fuzz;
  Input input(data, size);
  const std::size_t step = 1 + input.byte() % 40;
  promise(read(input.rest(), size + 1) == read(input.rest(), step), "the cut changes nothing");
  return 0;
}
