#include "holdfast/http/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/http/framing.h"
#include "holdfast/http/guard.h"
#include "holdfast/http/syntax.h"

namespace holdfast::http {
namespace {

Unexpected<Refusal> refuse(std::string_view reason, Problem problem = Problem::bad_request) {
  return unexpected(Refusal{reason, problem});
}

Unexpected<Refusal> disagreement() {
  return refuse("two readers of the message disagree");
}

/// llhttp, the second reader. It is shown what the guard has accepted and must come to the same
/// end; its callbacks do nothing but note what it saw.
class Llhttp {
 public:
  explicit Llhttp(llhttp_type_t type) {
    llhttp_init(&parser_, type, &settings());
    parser_.data = this;
  }
  Llhttp(const Llhttp&) = delete;
  Llhttp& operator=(const Llhttp&) = delete;

  void begin() {
    llhttp_reset(&parser_);
    seen_ = {};
    pieces_.clear();
  }

  /// False if it cannot be a message. Pieces of a body are added to pieces().
  bool read(std::string_view bytes) {
    const llhttp_errno_t result = llhttp_execute(&parser_, bytes.data(), bytes.size());
    if (!seen_.message_complete) return result == HPE_OK;
    const bool paused = result == HPE_PAUSED || result == HPE_PAUSED_UPGRADE;
    return paused && llhttp_get_error_pos(&parser_) == bytes.data() + bytes.size();
  }

  /// Shows it a whole head; `has_body` tells what no reader of the head alone can know: a response
  /// to HEAD has no body. True if it read the same framing and the same number of fields.
  bool read_head(std::string_view start, std::string_view rest, std::size_t fields,
                 Framing declared, bool has_body) {
    skip_body_ = !has_body;
    const bool accepted = (start.empty() || read(start)) && read(rest);
    const bool chunked = declared.kind == Framing::Kind::chunked;
    return accepted && seen_.headers_complete && seen_.message_complete == !has_body &&
           pieces_.empty() && seen_.fields == fields && seen_.chunked == chunked &&
           seen_.content_length == declared.length;
  }

  /// Shows it bytes of a body. True if it agrees whether the message ends with them.
  bool read_body(std::string_view bytes, bool last) {
    return read(bytes) && seen_.message_complete == last;
  }

  const std::vector<std::string_view>& pieces() const { return pieces_; }
  void clear_pieces() { pieces_.clear(); }

 private:
  struct Seen {
    std::size_t fields = 0;
    std::uint64_t content_length = 0;
    bool chunked = false;
    bool headers_complete = false;
    bool message_complete = false;
  };

  static Llhttp& self(llhttp_t* parser) { return *static_cast<Llhttp*>(parser->data); }

  static int on_header_value_complete(llhttp_t* parser) {
    Seen& seen = self(parser).seen_;
    if (!seen.headers_complete) ++seen.fields;
    return 0;
  }

  static int on_headers_complete(llhttp_t* parser) {
    Seen& seen = self(parser).seen_;
    seen.headers_complete = true;
    seen.chunked = (parser->flags & F_CHUNKED) != 0;
    seen.content_length = parser->content_length;
    constexpr int proceed = 0;
    constexpr int without_body = 1;
    return self(parser).skip_body_ ? without_body : proceed;
  }

  // Within a body, llhttp reports a piece of nothing for an input of nothing.
  static int on_body(llhttp_t* parser, const char* at, std::size_t size) {
    if (size > 0) self(parser).pieces_.emplace_back(at, size);
    return 0;
  }

  static int on_message_complete(llhttp_t* parser) {
    self(parser).seen_.message_complete = true;
    return HPE_PAUSED;  // what follows belongs to another message
  }

  static const llhttp_settings_t& settings() {
    static const llhttp_settings_t shared = [] {
      llhttp_settings_t made;
      llhttp_settings_init(&made);
      made.on_header_value_complete = on_header_value_complete;
      made.on_headers_complete = on_headers_complete;
      made.on_body = on_body;
      made.on_message_complete = on_message_complete;
      return made;
    }();
    return shared;
  }

  llhttp_t parser_;
  Seen seen_;
  bool skip_body_ = false;
  std::vector<std::string_view> pieces_;
};

/// What reading a request and reading a response have in common: the collecting of the head and all
/// that comes after it.
class MessageReader {
 public:
  enum class Phase : std::uint8_t {
    head,      // collecting the head
    no_body,   // the head was reported, nothing follows it
    body,      // the head was reported, the body is being read
    complete,  // the end was reported
    failed,    // a refusal was reported and is repeated for ever
  };

  explicit MessageReader(llhttp_type_t type) : llhttp_(type) {}

  void begin(const SectionLimits& limits) {
    phase_ = Phase::head;
    head_.begin(limits);
    llhttp_.begin();
    trailers_.clear();
  }

  /// The whole head has been read and understood. REQUIRES: phase() is head.
  Result<void, Refusal> end_head(std::string_view start, std::string_view rest, Framing declared,
                                 Framing framing, const ParserLimits& limits) {
    // A tab is white space like any other, but llhttp takes none beside a length or a coding.
    std::string spaced(rest.find('\t') == rest.npos ? std::string_view() : rest);
    std::replace(spaced.begin(), spaced.end(), '\t', ' ');
    if (!spaced.empty()) rest = spaced;
    if (!llhttp_.read_head(start, rest, head_.field_count(), declared, framing.has_body())) {
      return disagreement();
    }
    const std::uint64_t most = std::min(limits.max_body_bytes.value_or(max_length), max_length);
    if (framing.kind == Framing::Kind::length && framing.length > most) {
      return refuse("the body is larger than the limit", Problem::content_too_large);
    }
    framing_ = framing;
    left_ = framing.kind == Framing::Kind::length ? framing.length : most;
    if (framing.kind == Framing::Kind::chunked) {
      chunks_.begin({most, static_cast<std::size_t>(limits.max_headers)});
    }
    phase_ = framing.has_body() ? Phase::body : Phase::no_body;
    return {};
  }

  /// Reads what follows the head. REQUIRES: phase() is neither head nor failed.
  Result<ParseStep, Refusal> read_rest(std::string_view input) {
    if (phase_ != Phase::body) {
      phase_ = Phase::complete;
      return ParseStep{ParseEvent::complete, 0};
    }
    std::size_t consumed = 0;
    do {
      const auto taken = take(input.substr(consumed));
      if (!taken) return unexpected(taken.error());
      const bool unseen = taken->shown.empty() && !taken->done;
      if (!unseen && !llhttp_.read_body(taken->shown, taken->done)) return disagreement();
      consumed += taken->consumed;
      if (taken->done) phase_ = Phase::complete;
    } while (phase_ == Phase::body && consumed < input.size());
    return ParseStep{event_of(phase_ == Phase::complete), consumed};
  }

  Unexpected<Refusal> fail(Refusal refusal) {
    phase_ = Phase::failed;
    refusal_ = refusal;
    llhttp_.clear_pieces();
    return unexpected(refusal);
  }

  void set_complete() { phase_ = Phase::complete; }
  void clear_pieces() { llhttp_.clear_pieces(); }

  Phase phase() const { return phase_; }
  bool started() const { return phase_ != Phase::head || head_.started(); }
  bool lasts_until_close() const {
    return phase_ == Phase::body && framing_.kind == Framing::Kind::until_close;
  }
  Refusal refusal() const { return refusal_; }
  HeadReader& head() { return head_; }
  std::span<const std::string_view> pieces() const { return llhttp_.pieces(); }
  const Fields& trailers() const { return trailers_; }

 private:
  using Taken = ChunkScanner::Step;

  ParseEvent event_of(bool done) const {
    if (done) return ParseEvent::complete;
    return pieces().empty() ? ParseEvent::need_more : ParseEvent::body;
  }

  /// How much of `input` belongs to this body, and whether the body ends there.
  Result<Taken, Refusal> take(std::string_view input) {
    if (framing_.kind == Framing::Kind::chunked) return take_chunks(input);
    if (framing_.kind == Framing::Kind::until_close && input.size() > left_) {
      return refuse("the body is larger than the limit", Problem::content_too_large);
    }
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(input.size(), left_));
    left_ -= size;
    const bool done = framing_.kind == Framing::Kind::length && left_ == 0;
    return Taken{done, size, input.substr(0, size)};
  }

  Result<Taken, Refusal> take_chunks(std::string_view input) {
    const auto step = chunks_.scan(input);
    if (!step || !step->done) return step;
    const auto parsed = chunks_.parse_trailers(trailers_);
    if (!parsed) return unexpected(parsed.error());
    return step;
  }

  Phase phase_ = Phase::head;
  Refusal refusal_;
  HeadReader head_;
  Llhttp llhttp_;
  ChunkScanner chunks_;
  Framing framing_;
  std::uint64_t left_ = 0;  // of the length, or of the limit
  Fields trailers_;
};

using Phase = MessageReader::Phase;

/// Empties a head but keeps the memory of its fields.
template <class Head>
void recycle(Head& head) {
  Fields fields = std::move(head.fields);
  fields.clear();
  head = Head{};
  head.fields = std::move(fields);
}

}  // namespace

class RequestParser::Impl {
 public:
  explicit Impl(const ParserLimits& limits) : limits_(limits) { begin(); }

  void begin() {
    recycle(head_);
    message_.begin({.start_line_bytes = static_cast<std::size_t>(limits_.max_target_bytes),
                    .bytes = static_cast<std::size_t>(limits_.max_header_bytes),
                    .fields = static_cast<std::size_t>(limits_.max_headers),
                    .empty_lines = max_leading_empty_lines});
  }

  Result<ParseStep, Refusal> parse(std::string_view input) {
    if (message_.phase() == Phase::failed) return unexpected(message_.refusal());
    message_.clear_pieces();
    auto step = message_.phase() == Phase::head ? read_head(input) : message_.read_rest(input);
    if (!step) {
      give_up();
      return message_.fail(step.error());
    }
    return step;
  }

  void give_up() {
    if (message_.phase() == Phase::head) keep_request_line();
  }

  const MessageReader& message() const { return message_; }
  const RequestHead& head() const { return head_; }
  void set_limits(const ParserLimits& limits) {
    if (limits == limits_) return;
    limits_ = limits;
    begin();
  }

 private:
  Result<ParseStep, Refusal> read_head(std::string_view input) {
    std::size_t consumed = 0;
    for (;;) {
      const auto step = message_.head().read(input.substr(consumed));
      if (!step) return unexpected(step.error());
      consumed += step->consumed;
      if (step->event == HeadReader::Event::need_more) {
        return ParseStep{ParseEvent::need_more, consumed};
      }
      const bool at_end = step->event == HeadReader::Event::end;
      const auto accepted = at_end ? end_head() : end_request_line();
      if (!accepted) return unexpected(accepted.error());
      if (at_end) return ParseStep{ParseEvent::head, consumed};
    }
  }

  /// Refuses a bad request line at once: what does not speak HTTP/1 may never send an empty line.
  /// The bytes may still move as the head grows, so sizes are kept and not views.
  Result<void, Refusal> end_request_line() {
    const auto line = parse_request_line(message_.head().start_line(), limits_.tunnels);
    if (!line) return unexpected(line.error());
    method_size_ = line->method.size();
    target_size_ = line->target.size();
    head_.method = method_of(line->method);
    head_.minor_version = line->minor_version;
    const auto target = split_target(line->target, head_.method);
    if (!target) return unexpected(target.error());
    return {};
  }

  Result<void, Refusal> end_head() {
    const std::string_view line = message_.head().start_line();
    head_.method_text = line.substr(0, method_size_);
    const auto dropped = message_.head().parse_fields(head_.fields, limits_.underscore_headers);
    if (!dropped) return unexpected(dropped.error());
    head_.dropped_fields = *dropped;
    const auto host = host_of(head_.fields, head_.minor_version);
    if (!host) return unexpected(host.error());
    head_.authority = *host;
    set_target(*split_target(line.substr(method_size_ + 1, target_size_), head_.method));
    if (auto accepted = check_connection(head_.fields); !accepted) return accepted;
    return end_framing();
  }

  void set_target(Target target) {
    if (!target.authority.empty()) head_.authority = target.authority;
    const bool tunnel = head_.method == Method::connect;
    head_.absolute = !target.authority.empty() && !tunnel;
    head_.target = tunnel ? target.authority : target.rest;
    if (head_.target.empty()) head_.target = head_.method == Method::options ? "*" : "/";
    if (target.rest.starts_with('?')) {
      with_slash_ = "/" + std::string(target.rest);
      head_.target = with_slash_;
    }
    const std::size_t path_end = std::min(head_.target.find('?'), head_.target.size());
    head_.path = head_.target.substr(0, path_end);
    head_.query = head_.target.substr(std::min(path_end + 1, head_.target.size()));
  }

  /// Tells what there is of a request that is refused: it may be refused for its very line, or with
  /// half of it there.
  void keep_request_line() {
    recycle(head_);
    head_.method = Method::other;
    const std::string_view text = message_.head().text();
    const std::string_view line = text.substr(0, text.find('\r'));
    const std::size_t method_end = line.find(' ');
    if (method_end == std::string_view::npos) return;
    const std::string_view method = line.substr(0, method_end);
    if (method.size() > max_method_length || !is_token(method)) return;
    head_.method_text = method;
    head_.method = method_of(method);
    const auto whole = parse_request_line(line, limits_.tunnels);
    if (!whole) return;
    if (const auto target = split_target(whole->target, head_.method)) set_target(*target);
  }

  Result<void, Refusal> end_framing() {
    const auto framing = declared_framing(head_.fields, head_.minor_version);
    if (!framing) return unexpected(framing.error());
    head_.framing = *framing;
    const bool modern = head_.minor_version == 1;
    if (modern && has_unknown_expectation(head_.fields)) {
      return refuse("Expect is not 100-continue", Problem::expectation_failed);
    }
    const bool has_body = framing->has_body();
    if (has_body && head_.method == Method::connect) return refuse("CONNECT has no body");
    head_.keep_alive = modern && wants_persistence(head_.fields, 1);
    head_.expect_continue = modern && has_body && head_.fields.has(FieldName::expect);
    head_.upgrade = modern && !has_body && head_.fields.has(FieldName::upgrade) &&
                    lists_token(head_.fields, FieldName::connection, "upgrade");
    const std::string_view after_method = message_.head().text().substr(method_size_);
    if (head_.method == Method::connect) {
      // llhttp would take all that follows for the tunnel's: it is shown another request.
      const std::string_view after_target = after_method.substr(1 + target_size_);
      return message_.end_head("OPTIONS *", after_target, *framing, *framing, limits_);
    }
    return message_.end_head(method_for_llhttp(), after_method, *framing, *framing, limits_);
  }

  /// llhttp knows a closed list of methods; in place of any other it is shown one of them.
  std::string_view method_for_llhttp() const {
    return head_.method == Method::other ? "POST" : head_.method_text;
  }

  ParserLimits limits_;
  MessageReader message_{HTTP_REQUEST};
  RequestHead head_;
  std::size_t method_size_ = 0;
  std::size_t target_size_ = 0;
  std::string with_slash_;  // the target of "http://host?query", which has no slash of its own
};

class ResponseParser::Impl {
 public:
  explicit Impl(const ParserLimits& limits) : limits_(limits) { begin(Method::get, false); }

  void begin(Method request_method, bool upgrade) {
    if (message_.phase() == Phase::failed) return;
    request_method_ = request_method;
    upgrade_ = upgrade;
    informational_ = 0;
    begin_head();
  }

  Result<ParseStep, Refusal> parse(std::string_view input) {
    if (message_.phase() == Phase::failed) return unexpected(message_.refusal());
    message_.clear_pieces();
    if (awaits_another_head()) begin_head();
    auto step = message_.phase() == Phase::head ? read_head(input) : message_.read_rest(input);
    if (!step) return message_.fail(step.error());
    return step;
  }

  Result<void, Error> finish() {
    message_.clear_pieces();
    if (message_.phase() == Phase::failed) return unexpected(protocol_error(message_.refusal()));
    if (!started()) {
      return unexpected(Error{ErrorType::connection_terminated,
                              "the upstream closed the connection without an answer"});
    }
    const bool ended = message_.phase() == Phase::no_body && !awaits_another_head();
    if (message_.lasts_until_close() || ended) message_.set_complete();
    if (message_.phase() == Phase::complete) return {};
    return unexpected(Error{ErrorType::http_response_incomplete,
                            "the upstream closed the connection within its answer"});
  }

  static Error protocol_error(Refusal refusal) {
    return Error{ErrorType::http_protocol_error, std::string(refusal.reason)};
  }

  bool started() const { return informational_ > 0 || message_.started(); }
  const MessageReader& message() const { return message_; }
  const ResponseHead& head() const { return head_; }

 private:
  /// An informational response was reported; the one it announces comes next.
  bool awaits_another_head() const {
    return message_.phase() == Phase::no_body && head_.informational() && head_.status != 101;
  }

  void begin_head() {
    recycle(head_);
    const auto most = static_cast<std::size_t>(limits_.max_header_bytes);
    message_.begin({.start_line_bytes = most,
                    .bytes = most,
                    .fields = static_cast<std::size_t>(limits_.max_headers)});
  }

  Result<ParseStep, Refusal> read_head(std::string_view input) {
    std::size_t consumed = 0;
    for (;;) {
      const auto step = message_.head().read(input.substr(consumed));
      if (!step) return unexpected(step.error());
      consumed += step->consumed;
      if (step->event == HeadReader::Event::need_more) {
        return ParseStep{ParseEvent::need_more, consumed};
      }
      const bool at_end = step->event == HeadReader::Event::end;
      const auto accepted = at_end ? end_head() : end_status_line();
      if (!accepted) return unexpected(accepted.error());
      if (at_end) return ParseStep{ParseEvent::head, consumed};
    }
  }

  Result<void, Refusal> end_status_line() {
    const auto line = parse_status_line(message_.head().start_line());
    if (!line) return unexpected(line.error());
    head_.status = line->status;
    head_.minor_version = line->minor_version;
    reason_size_ = line->reason.size();
    if (line->status == 101 && !upgrade_) {
      return refuse("the protocol is changed though nobody asked for it");
    }
    if (head_.informational() && ++informational_ > max_informational_responses) {
      return refuse("there are too many informational responses");
    }
    return {};
  }

  Result<void, Refusal> end_head() {
    const std::string_view line = message_.head().start_line();
    head_.reason = line.substr(line.size() - reason_size_);
    const auto parsed = message_.head().parse_fields(head_.fields, UnderscorePolicy::pass);
    if (!parsed) return unexpected(parsed.error());
    const auto declared = declared_framing(head_.fields, head_.minor_version);
    if (!declared) return unexpected(declared.error());
    const auto framing = response_framing(*declared, head_.status, request_method_);
    if (!framing) return unexpected(framing.error());
    head_.framing = *framing;
    head_.keep_alive = wants_persistence(head_.fields, head_.minor_version) &&
                       framing->kind != Framing::Kind::until_close &&
                       !leaves_content_unread(*declared, head_.status);
    return message_.end_head("", message_.head().text(), *declared, *framing, limits_);
  }

  ParserLimits limits_;
  MessageReader message_{HTTP_RESPONSE};
  ResponseHead head_;
  Method request_method_ = Method::get;
  bool upgrade_ = false;
  int informational_ = 0;
  std::size_t reason_size_ = 0;
};

RequestParser::RequestParser(const ParserLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;

Result<ParseStep, RequestError> RequestParser::parse(std::string_view input) {
  const auto step = impl_->parse(input);
  if (step) return *step;
  const Refusal refusal = step.error();
  return unexpected(RequestError{refusal.problem, std::string(refusal.reason)});
}

bool RequestParser::started() const {
  return impl_->message().started();
}
const RequestHead& RequestParser::head() const {
  return impl_->head();
}
std::span<const std::string_view> RequestParser::body() const {
  return impl_->message().pieces();
}
const Fields& RequestParser::trailers() const {
  return impl_->message().trailers();
}
void RequestParser::set_limits(const ParserLimits& limits) {
  HOLDFAST_ASSERT(!started());
  impl_->set_limits(limits);
}
void RequestParser::give_up() {
  impl_->give_up();
}
void RequestParser::begin() {
  HOLDFAST_ASSERT(impl_->message().phase() == Phase::complete);
  impl_->begin();
}

ResponseParser::ResponseParser(const ParserLimits& limits)
    : impl_(std::make_unique<Impl>(limits)) {}
ResponseParser::~ResponseParser() = default;
void ResponseParser::begin(Method request_method, bool upgrade) {
  impl_->begin(request_method, upgrade);
}

Result<ParseStep, Error> ResponseParser::parse(std::string_view input) {
  const auto step = impl_->parse(input);
  if (step) return *step;
  return unexpected(Impl::protocol_error(step.error()));
}

Result<void, Error> ResponseParser::finish() {
  return impl_->finish();
}
bool ResponseParser::started() const {
  return impl_->started();
}
const ResponseHead& ResponseParser::head() const {
  return impl_->head();
}
std::span<const std::string_view> ResponseParser::body() const {
  return impl_->message().pieces();
}
const Fields& ResponseParser::trailers() const {
  return impl_->message().trailers();
}

bool parser_is_strict() {
  constexpr std::string_view probes[] = {
      "GET / HTTP/1.1\r\nHost: a\r\n\rX",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\rX",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nAXX",
  };
  return std::none_of(std::begin(probes), std::end(probes), [](std::string_view probe) {
    Llhttp llhttp(HTTP_REQUEST);
    return llhttp.read(probe);
  });
}

}  // namespace holdfast::http
