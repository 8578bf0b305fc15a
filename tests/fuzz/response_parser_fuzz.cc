// Responses: the verdict does not depend on the cut, a message without a body has none, and what
// goes to the client for it is read as the same response.
#include <string>

#include "holdfast/http/parser.h"
#include "holdfast/proxy/heads.h"
#include "tests/fuzz/fuzz.h"

namespace holdfast::fuzz {
namespace {

void check_sent_on(const http::ResponseHead& head, http::Method method) {
  proxy::ResponseEdits edits;
  edits.server_name = "holdfast";
  edits.body = head.framing.kind == http::Framing::Kind::none     ? proxy::BodyMode::none
               : head.framing.kind == http::Framing::Kind::length ? proxy::BodyMode::length
                                                                  : proxy::BodyMode::chunked;
  edits.body_length = head.framing.length;
  std::string sent;
  proxy::append_downstream_head(sent, head, edits);
  http::ParserLimits limits;
  limits.max_header_bytes += 4096;  // for what is added
  limits.max_headers += 16;
  http::ResponseParser again(limits);
  again.begin(method, false);
  const auto step = again.parse(sent);
  promise(step.has_value() && step->event == http::ParseEvent::head,
          "what is sent on is a response");
  promise(step->consumed == sent.size(), "what is sent on is one head");
  promise(again.head().status == head.status, "the status stays");
}

std::string read(std::string_view bytes, std::size_t step, http::Method method, bool upgrade) {
  http::ParserLimits limits;
  limits.max_header_bytes = 4096;
  limits.max_headers = 16;
  http::ResponseParser parser(limits);
  parser.begin(method, upgrade);
  Cuts cuts(bytes, step);
  std::string told;
  std::string body;  // left out where the message is refused: how much was told depends on the cut
  bool bodiless = false;
  for (;;) {
    const auto parsed = parser.parse(cuts.input());
    if (!parsed) return told + "refused";
    for (const std::string_view piece : parser.body()) {
      promise(!bodiless || piece.empty(), "HEAD, 204 and 304 have no body");
      body += piece;
    }
    cuts.consume(parsed->consumed);
    if (parsed->event == http::ParseEvent::head) {
      const http::ResponseHead& head = parser.head();
      promise(head.status >= 100 && head.status <= 599, "a status is 100 to 599");
      bodiless = method == http::Method::head || head.status == 204 || head.status == 304;
      if (!head.informational()) check_sent_on(head, method);
      told.append("head ").append(std::to_string(head.status)).append("\n");
    } else if (parsed->event == http::ParseEvent::complete) {
      return told + body + "complete";
    } else if (!cuts.next()) {
      return told + body + (parser.finish() ? "ended" : "cut");
    }
  }
}

}  // namespace
}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  Input input(data, size);
  const std::size_t step = 1 + input.byte() % 40;
  const std::uint8_t kind = input.byte();
  const http::Method method = kind % 4 == 1   ? http::Method::head
                              : kind % 4 == 2 ? http::Method::post
                                              : http::Method::get;
  const bool upgrade = kind % 8 == 4;
  promise(
      read(input.rest(), size + 1, method, upgrade) == read(input.rest(), step, method, upgrade),
      "the cut changes nothing");
  return 0;
}
