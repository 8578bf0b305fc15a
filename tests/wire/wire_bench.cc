#include "tests/wire/wire_bench.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "tests/support/certificates.h"
#include "tests/support/checks.h"

namespace holdfast::testing {
namespace {

constexpr std::string_view health_target = "/healthy";
constexpr Milliseconds health_within = 1s;
// How much longer than its limit a wait may take on a busy machine.
constexpr Milliseconds slack = 5s;

// "/ik…" is keyed; a path that begins with an underscore has no route, so that holdfast answers.
constexpr std::string_view policies = R"toml(
[store]
kind = "memory"
[upstream.app.breaker]
enabled = false
[defaults]
retry = { attempts = 1 }
timeout = { idle = "1s", total = "3s" }
[[route]]
name = "keyed"
upstream = "app"
match = { path_prefix = "/ik" }
[route.idempotency]
enabled = true
[[route]]
name = "main"
upstream = "app"
match = { path_regex = "^(\\*|/([^_]|$))" }
)toml";

const Authority& authority() {
  static const Authority made;
  return made;
}

const Certificate& identity() {
  static const Certificate made = authority().issue({.san = "IP:127.0.0.1,DNS:localhost"});
  return made;
}

bool speaks_tls(std::string_view who) {
  const char* those = std::getenv("HOLDFAST_WIRE_TLS");
  return those != nullptr && who == those;
}

std::unique_ptr<TlsFront> front_of(const ScriptedUpstream& upstream) {
  if (!speaks_tls("upstream")) return nullptr;
  return std::make_unique<TlsFront>(upstream.address(), authority().issue({.san = "IP:127.0.0.1"}));
}

std::unique_ptr<TlsRelay> relay_to(const Holdfast& holdfast) {
  if (!clients_speak_tls()) return nullptr;
  return std::make_unique<TlsRelay>(
      holdfast.address(), TlsRelay::Options{authority().ca_file(), "localhost", nullptr, true});
}

std::string configuration(const std::string& url, const std::string& plain_address,
                          WireBench::Pace pace) {
  std::string text = "[server]\nworkers = 1\nmax_body_bytes = \"1GiB\"\n";
  if (pace == WireBench::Pace::impatient) {
    text += "header_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
  }
  text += "[upstream.app]\nendpoints = [\"" + url + "\"]\nhost_header = \"preserve\"\n";
  if (url.starts_with("https:")) text += "tls = { ca = \"" + authority().ca_file() + "\" }\n";
  if (clients_speak_tls()) {
    text += "[[listener]]\nname = \"main\"\nlisten = \"127.0.0.1:" + std::to_string(free_port()) +
            "\"\ntls = { cert = \"" + identity().cert_file() + "\", key = \"" +
            identity().key_file() + "\" }\n[[listener]]\nname = \"plain\"\nlisten = \"" +
            plain_address + "\"\n";
  }
  return text + std::string(policies);
}

/// The limits that a case names, as the bench has configured them.
Milliseconds limit_of(const std::string& name) {
  const std::map<std::string, Milliseconds> limits = {{"header_timeout", 1s},
                                                      {"idle_timeout", 1s},
                                                      {"keepalive_timeout", 1s},
                                                      {"write_timeout", 1s},
                                                      {"body_timeout", 8s}};
  return limits.at(name);
}

/// 200, with as many bytes as the target's size= asks for.
void answer_plainly(Exchange& exchange) {
  constexpr std::string_view mark = "size=";
  exchange.read_body();
  const auto at = exchange.request.target.find(mark);
  if (at == std::string::npos) return exchange.respond(200, "ok");
  std::size_t left = std::stoul(exchange.request.target.substr(at + mark.size()));
  exchange.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(left) + "\r\n\r\n");
  for (const std::string piece(64 * 1024, 'x'); left > 0;) {
    const std::size_t size = std::min(left, piece.size());
    exchange.send(std::string_view(piece).substr(0, size));
    left -= size;
  }
}

void send_pieces(Exchange& exchange, std::string_view bytes, Cutting cutting) {
  for (const std::string_view piece : cutting.cut(bytes)) exchange.send(piece);
}

/// What the upstream does in a case.
Handler script(const WireCase& one, Cutting cutting, const std::string& port) {
  if (!one.upstream_bytes) return answer_plainly;
  auto turn = std::make_shared<std::atomic<int>>(0);
  return [=](Exchange& exchange) {
    if (one.fault_once && turn->fetch_add(1) > 0) return answer_plainly(exchange);
    if (one.upstream_when.empty()) exchange.read_body();
    if (one.upstream_when != "connect") {
      send_pieces(exchange, decoded(*one.upstream_bytes, port, ""), cutting);
    }
    if (one.then == "fin") exchange.close();
    if (one.then == "rst") exchange.reset();
    if (one.then == "hang") exchange.wait_for_close();
    if (one.upstream_when == "head") exchange.read_body();
    if (!one.upstream_after) return;
    std::this_thread::sleep_for(one.upstream_after->after);  // the case's own time, not a wait
    exchange.send(decoded(one.upstream_after->bytes, port, ""));
  };
}

/// What came of a case, in the table's words; "silence" is in none of them.
std::string outcome_of(const Response& response) {
  if (response.fault == Fault::timeout) return "silence";
  if (!response.complete) return "close";
  const bool own = response.headers.get("Content-Type") == "application/problem+json";
  if (!own) return "forward-normalized";
  return response.status >= 500 ? "5xx" : "reject-4xx";
}

bool says_close(const Response& response) {
  return response.headers.get("Connection") == "close";
}

/// One case, played once.
class Run {
 public:
  Run(WireBench& bench, const WireCase& one, Cutting cutting, int number)
      : bench_(bench),
        one_(one),
        cutting_(cutting),
        number_(std::to_string(number)),
        before_(bench.upstream().request_count()),
        garbage_before_(bench.upstream().garbage().size()) {}

  Findings findings() {
    const std::string greeting = one_.upstream_when == "connect" ? *one_.upstream_bytes : "";
    bench_.upstream().greet(text(greeting));
    if (!greeting.empty()) bench_.upstream().close_connections();
    bench_.upstream().answer(script(one_, cutting_, bench_.port()));
    play();
    bench_.upstream().greet("");
    bench_.upstream().answer(answer_plainly);
    const std::size_t health_connection = check_health();
    check_upstream(health_connection);
    check_client();
    return std::move(findings_);
  }

 private:
  std::string text(std::string_view escaped) const {
    return decoded(escaped, bench_.port(), number_);
  }
  void expect(bool holds, const std::string& otherwise) {
    if (!holds) findings_.push_back(otherwise);
  }

  void play() {
    const Stopwatch since;
    RawClient client(bench_.address());
    send_request(client);
    if (one_.end == "rst") {
      client.reset();
      got_ = "close";
      return;
    }
    read_answers(client);
    if (!one_.max_ms.empty()) wait_for_limit(client, since);
    follow_up(client);
    client_saw_ += client.reader().received();
    client.reset();
  }

  void send_request(RawClient& client) {
    for (const Segment& segment : one_.segments) {
      sent_ += text(segment.bytes);
      if (segment.after > 0ms && comes_within(client, segment.after)) {
        if (one_.pattern_list("cli_must").empty()) break;  // it has been answered
      }
      const std::string bytes = text(segment.bytes);
      const Cutting cutting = one_.in_segments ? Cutting{} : cutting_;
      for (const std::string_view piece : cutting.cut(bytes)) client.send_if_open(piece);
    }
    if (one_.end == "fin") client.half_close();
  }

  static bool comes_within(RawClient& client, Milliseconds within) {
    client.reader().set_patience(within);
    bool came = true;
    try {
      client.reader().wait_for_byte();
    } catch (const WireError& error) {
      came = error.fault() != Fault::timeout;
    }
    client.reader().set_patience(patience);
    return came;
  }

  void read_answers(RawClient& client) {
    if (!one_.client_reads) std::this_thread::sleep_for(2 * limit_of(one_.max_ms));
    first_ = client.read_response(one_.method());
    got_ = outcome_of(first_);
    Response last = first_;
    const bool several = got_ == "forward-normalized" && !one_.follow_up;
    const std::size_t answers = several ? one_.upstream_count.value_or(1) : 1;
    for (std::size_t n = 1; n < answers; ++n) {
      last = client.read_response();
      expect(last.complete && last.status == 200, "a pipelined request has no answer");
    }
    if (says_close(last) || one_.must_close) check_silence(client);
  }

  /// Nothing is answered after an error; what an earlier, good request is followed by may be one.
  void check_silence(RawClient& client) {
    Fault fault = Fault::none;
    const std::string more = client.read_to_end(&fault);
    expect(fault != Fault::timeout, "the connection is not closed");
    const bool after_an_error = got_ != "forward-normalized" || says_close(first_);
    if (after_an_error) expect(more.empty(), "after the last answer comes: " + more);
    closed_ = true;
  }

  void wait_for_limit(RawClient& client, const Stopwatch& since) {
    if (!closed_) {
      const Fault fault = client.wait_for_close();
      expect(fault != Fault::timeout, "the connection outlives its limit");
    }
    expect(since.elapsed() < limit_of(one_.max_ms) + slack, "the limit took too long");
    closed_ = true;
  }

  void follow_up(RawClient& client) {
    seen_at_first_ = bench_.upstream().request_count() - before_;
    bench_.upstream().answer(answer_plainly);
    if (one_.must_close_or_drain && !one_.follow_up && !closed_) {
      expect(client.get(health_target).status == 200, "the body was neither read nor refused");
    }
    if (!one_.follow_up) return;
    std::this_thread::sleep_for(one_.follow_up_after);  // the case's own time, not a wait
    sent_ += text(*one_.follow_up);
    if (!closed_ && first_.complete) return ask(client);
    RawClient other(bench_.address());
    ask(other);
    client_saw_ += other.reader().received();
  }

  void ask(RawClient& client) {
    client.send_if_open(text(*one_.follow_up));
    expect(client.read_response().complete, "the next request has no answer");
  }

  /// The next client is served, and soon. Returns by which connection of the upstream.
  std::size_t check_health() {
    const Stopwatch since;
    const std::string answer = std::to_string(fetch(bench_.plain_address(), health_target).status);
    expect(answer == "200", "the next client gets " + answer);
    if (!built_with_sanitizers) expect(since.elapsed() < health_within, "the next client waits");
    seen_ = bench_.upstream().requests(before_);
    const auto health = std::find_if(seen_.begin(), seen_.end(), is_health);
    const std::size_t connection = health == seen_.end() ? 0 : health->connection;
    std::erase_if(seen_, [this](const Request& request) {
      return is_health(request) || !is_of_this_run(request);
    });
    return connection;
  }

  /// What an earlier client has begun and left may come late.
  bool is_of_this_run(const Request& request) const {
    const bool made_from_a_uri = request.target == "*" || request.target.starts_with("/?");
    return sent_.find(request.target) != sent_.npos || made_from_a_uri;
  }

  static bool is_health(const Request& request) { return request.target == health_target; }
  static bool is_complete(const Request& request) { return request.complete; }

  void check_upstream(std::size_t health_connection) {
    const std::string garbage = bench_.upstream().garbage().substr(garbage_before_);
    expect(garbage.empty(), "the upstream cannot read: " + garbage);
    for (std::size_t n = 0; n < seen_.size(); ++n) {
      const Request& request = seen_[n];
      check_made_by_holdfast(request);
      if (got_ != "forward-normalized") {
        if (n >= seen_at_first_) continue;
        expect(request.connection != health_connection, "a connection is used after a failure");
      } else if (one_.upstream_when.empty()) {
        expect(request.complete, "the upstream has half a request: " + request.raw_head);
      }
    }
    check_counts();
    if (one_.connection_reused && seen_.size() == 2) {
      expect((seen_[0].connection == seen_[1].connection) == *one_.connection_reused,
             "the upstream's connection is kept or dropped wrongly");
    }
  }

  void check_made_by_holdfast(const Request& request) {
    expect(request.headers.get("Via").ends_with(" holdfast"), "no Via: " + request.raw_head);
    expect(request.headers.count("X-Request-Id") == 1, "no X-Request-Id: " + request.raw_head);
    expect(!request.target.starts_with(one_.never), "upstream sees " + request.target);
  }

  void check_counts() {
    const auto complete = std::count_if(seen_.begin(), seen_.end(), is_complete);
    // The count belongs to the first of the outcomes that are allowed.
    if (one_.upstream_count && got_ == one_.expect) {
      expect(seen_.size() == *one_.upstream_count,
             "the upstream sees " + std::to_string(seen_.size()) + " requests");
    }
    if (got_ == "reject-4xx" && !one_.follow_up) {
      expect(complete == 0, "what is refused reached the upstream");
    }
    if (one_.upstream_complete) {
      expect(static_cast<std::size_t>(complete) == *one_.upstream_complete,
             "the upstream sees " + std::to_string(complete) + " complete requests");
    }
  }

  void check_client() {
    const auto& outcomes = one_.outcomes;
    const bool allowed = std::find(outcomes.begin(), outcomes.end(), got_) != outcomes.end();
    expect(allowed,
           "outcome " + got_ + ", not " + one_.expect + ": " + first_.raw_head + first_.reason);
    if (one_.status && first_.complete) {
      expect(first_.status == *one_.status, "status " + std::to_string(first_.status));
    }
    std::string forwarded;
    for (const Request& request : seen_) forwarded += request.raw_head + request.body;
    check_patterns("fwd_must", "(?i)", forwarded, true);
    check_patterns("fwd_must_not", "(?i)", forwarded, false);
    check_patterns("cli_must", "", client_saw_, true);
    check_patterns("cli_must_not", "", client_saw_, false);
    const std::string head = client_saw_.substr(0, client_saw_.find("\r\n\r\n"));
    check_patterns("cli_head_must_not", "", head, false);
  }

  void check_patterns(const char* key, const std::string& flags, const std::string& bytes,
                      bool expected) {
    for (const std::string& pattern : one_.pattern_list(key)) {
      expect(matches(bytes, flags + pattern) == expected,
             std::string(key) + " " + pattern + " fails on: " + bytes.substr(0, 1000));
    }
  }

  WireBench& bench_;
  const WireCase& one_;
  const Cutting cutting_;
  const std::string number_;
  const std::size_t before_;
  const std::size_t garbage_before_;
  Response first_;
  std::string got_;
  bool closed_ = false;
  std::string sent_;
  std::string client_saw_;
  std::vector<Request> seen_;
  std::size_t seen_at_first_ = 0;  // how many of them came before the next request was sent
  Findings findings_;
};

}  // namespace

bool clients_speak_tls() {
  return speaks_tls("client");
}

WireBench::WireBench(Pace pace)
    : plain_address_("127.0.0.1:" + std::to_string(free_port())),
      upstream_(answer_plainly, BodyReading::by_handler),
      front_(front_of(upstream_)),
      holdfast_(configuration(front_ ? front_->url() : upstream_.url(), plain_address_, pace)),
      relay_(relay_to(holdfast_)) {}

std::string WireBench::port() const {
  const std::string& address = holdfast_.address();
  return address.substr(address.find(':') + 1);
}

Findings WireBench::run(const WireCase& one, Cutting cutting) {
  try {
    return Run(*this, one, cutting, ++runs_).findings();
  } catch (const WireError& error) {
    return {error.what()};
  }
}

Findings WireBench::log_findings() {
  const std::string last = "the-last-of-" + port();
  fetch(address(), "/", {{"X-Request-Id", last}});
  Findings findings;
  if (!holdfast_.process().standard_output().wait_for(last)) findings.push_back("no last line");
  std::map<std::string, std::size_t> attempts;
  for (const nlohmann::json& line : holdfast_.access_log()) {
    const std::string id = line.at("request_id");
    if (attempts.contains(id)) findings.push_back("two lines for request " + id);
    // A pooled connection that closes under a request is replaced without counting.
    const bool may_be_replaced = line.at("attempts") > 0 && line.at("method") != "POST";
    attempts[id] = line.at("attempts").get<std::size_t>() + (may_be_replaced ? 1 : 0);
  }
  for (const Request& request : upstream_.requests()) {
    const auto line = attempts.find(request.headers.get("X-Request-Id"));
    if (line == attempts.end()) {
      findings.push_back("no line for: " + request.raw_head);
    } else if (line->second == 0) {
      findings.push_back("one attempt too many: " + request.raw_head);
    } else {
      --line->second;
    }
  }
  return findings;
}

}  // namespace holdfast::testing
