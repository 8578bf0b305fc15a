#include "tests/sim/client.h"

#include <algorithm>
#include <utility>

#include "tests/sim/reading.h"

namespace holdfast::sim {
namespace {

using testing::Event;

/// The longest that the head of an answer may take, from the request's last byte on.
Duration bound(const Scenario& scenario, const Question& question) {
  constexpr Duration slack = 20ms;
  const bool of_keys = question.path == keyed_path;
  const proxy::RouteConfig& route = of_keys ? scenario.keyed_route() : scenario.plain_route();
  const bool keyed = of_keys && (!question.key.empty() || scenario.generates_keys());
  Duration longest = *route.timeout.total;
  if (question.body.empty()) {
    const auto asked = std::chrono::milliseconds(question.deadline.value_or(3'600'000));
    longest = std::min<Duration>(longest, asked);
  }
  // A duplicate's wait, its own turn, and the store's time for a claim, a look, a renewal, a record
  // and what is tried when one of these fails; in a crowd with one key, for each whose turn came to
  // nothing.
  if (keyed) {
    longest += route.idempotency.in_flight_wait.value_or(Duration::zero()) + 12 * store_timeout;
  }
  // The clock starts when the body has gone out. Until then every attempt waits for a connection as
  // long as `total` says, and then for an upstream that may take a little at a time for as long as
  // it likes, and answer meanwhile: only `idle` of silence ends that. A body that is kept for its
  // key has come already; without its store it is sent as any other, and a reload may bring another
  // limit for what is kept then.
  const bool kept = question.body.size() <= route.retry.body_limit && !scenario.reloads();
  const bool streams = keyed ? scenario.fails_open() && !kept : !question.body.empty();
  if (streams) longest += 3 * route.retry.attempts * (*route.timeout.total + *route.timeout.idle);
  return longest + slack;
}

}  // namespace

std::string Question::head() const {
  std::string text = method + " " + path + " HTTP/1.1\r\nHost: a.test\r\n";
  text.append("X-Number: ").append(std::to_string(number)).append("\r\n");
  text.append("X-Request-Id: ").append(std::to_string(number)).append("\r\n");
  if (!who.empty()) text.append("Authorization: ").append(who).append("\r\n");
  if (!key.empty()) text.append("Idempotency-Key: ").append(key).append("\r\n");
  if (deadline) {
    text.append(deadline_field).append(": ").append(std::to_string(*deadline)).append("\r\n");
  }
  if (upgrades) text.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  if (expects) text.append("Expect: 100-continue\r\n");
  if (chunked) {
    text.append("Transfer-Encoding: chunked\r\n");
  } else if (!body.empty()) {
    text.append("Content-Length: ").append(std::to_string(body.size())) += "\r\n";
  }
  return text.append("\r\n");
}

std::string Question::text() const {
  std::string text = head();
  if (!chunked) return text.append(body);
  for (const char c : body) text.append("1\r\n").append(1, c).append("\r\n");
  return text.append("0\r\n\r\n");
}

Question keyed_question(std::uint64_t key, const std::string& who) {
  return {.method = "POST",
          .path = std::string(keyed_path),
          .who = who,
          .key = "k" + std::to_string(key),
          .body = "amount=1" + std::string(key * 50, 'p')};
}

Question draw_question(const Scenario& scenario, Chance& chance) {
  Question question;
  if (chance.percent(scenario.keyed_percent)) {
    const auto keys = static_cast<std::uint64_t>(scenario.hot_keys);
    question = keyed_question(chance.below(keys), chance.percent(85) ? "alice" : "bob");
    if (chance.percent(5)) question.body[7] = '2';
    if (chance.percent(scenario.keyless_percent)) question.key.clear();
  } else {
    constexpr const char* methods[] = {"GET", "GET", "GET", "GET", "HEAD", "PUT", "POST", "POST"};
    question.method = methods[chance.below(std::size(methods))];
    question.path = "/things";
    const bool bodiless = question.method == "GET" || question.method == "HEAD";
    if (!bodiless) question.body = std::string(1 + chance.below(3000), 'b');
  }
  question.upgrades = question.method == "GET" && chance.percent(scenario.upgrade_percent);
  question.chunked = question.body.size() < 200 && !question.body.empty() && chance.percent(30);
  question.expects = !question.body.empty() && chance.percent(10);
  question.waits = question.expects && chance.percent(60);
  const bool hurries = !scenario.plain_route().timeout.deadline_header.empty();
  if (hurries && chance.percent(50)) question.deadline = chance.below(400);
  return question;
}

Client::Client(test::World& world, const Scenario& scenario, Ledger& ledger, std::uint64_t seed,
               const Approach& approach)
    : world_(world),
      scenario_(scenario),
      ledger_(ledger),
      chance_(seed),
      approach_(approach),
      peer_(approach.peer),
      connection_(ledger.new_connection()) {
  const std::string name = "connection " + std::to_string(connection_);
  if (approach_.over_tls) ledger_.note(name + " is over TLS");
  if (approach_.is_strange) {
    ledger_.note(name + " shakes no hands");
    ledger_.strange(connection_);
  }
  peer_->on_change = [this] { read(); };
}

Client::~Client() {
  peer_->on_change = nullptr;
}

void Client::begin() {
  manner_ = chance_.percent(25) ? Manner::pipelining : Manner::polite;
  if (chance_.percent(scenario_.rude_percent)) {
    manner_ = chance_.one_of({Manner::slow_writer, Manner::slow_reader, Manner::sips, Manner::deaf,
                              Manner::stalls, Manner::aborts, Manner::half_closes, Manner::leaves});
  }
  latency_ = chance_.between(0us, scenario_.client_latency);
  peer_->set_latency(latency_);
  if (chance_.percent(30)) piece_ = 1 + chance_.below(200);
  for (std::uint64_t n = chance_.number(1, 4); n > 0; --n) {
    to_ask_.push_back(draw_question(scenario_, chance_));
    if (to_ask_.back().upgrades) break;  // what comes behind it would be the tunnel's
  }
  adopt_manner();
  send_next();
}

void Client::ask(Question question) {
  to_ask_.push_back(std::move(question));
  send_next();
}

/// What it does beside asking. Everything scheduled here looks whether it is over.
void Client::adopt_manner() {
  const Duration when = chance_.between(0us, 600ms);
  switch (manner_) {
    case Manner::slow_reader:
      peer_->take_at_most(chance_.below(500));
      world_.schedule(when, [peer = peer_] { peer->take_everything(); });
      break;
    case Manner::sips:
      read_in_sips(world_, peer_, chance_, 150ms);
      break;
    case Manner::deaf:
      peer_->take_at_most(chance_.below(300));
      break;
    case Manner::aborts:
      world_.schedule(when, [this] {
        if (over_) return;
        peer_->reset();
        lose_all("aborted");
      });
      break;
    default:
      break;
  }
}

void Client::send_next() {
  const bool all_at_once = manner_ == Manner::pipelining || manner_ == Manner::half_closes;
  do {
    if (over_ || to_ask_.empty()) return;
    Asked asked{std::move(to_ask_.front())};
    to_ask_.pop_front();
    asked.question.number = ledger_.new_request();
    asked.first = !std::exchange(begun_, true);
    ledger_.add({.kind = Event::Kind::send,
                 .key = asked.question.identity(),
                 .request = asked.question.number,
                 .payload = asked.question.payload(),
                 .connection = connection_});
    const std::string text = asked.question.text();
    const bool stops = to_ask_.empty() && (manner_ == Manner::stalls || manner_ == Manner::leaves);
    if (asked.question.deadline) ledger_.hurries(asked.question.number, *asked.question.deadline);
    if (asked.question.waits && manner_ == Manner::polite) {
      send(asked, asked.question.head().size());
      asked.withheld = true;
      asked.sent = after(world_.now(), latency_);
      waiting_.push_back(std::move(asked));
      return;
    }
    // Enough of it that its method can be known: an answer to a HEAD has no body.
    send(asked, stops ? chance_.number(8, text.size() - 1) : text.size());
    waiting_.push_back(std::move(asked));
  } while (all_at_once);
}

void Client::send(Asked& asked, std::size_t bytes) {
  const std::string whole = asked.question.text();
  const std::string text = whole.substr(0, bytes);
  const bool slowly = manner_ == Manner::slow_writer;
  const std::size_t piece = slowly ? 1 + text.size() / 6 : piece_;
  const bool last = to_ask_.empty();
  if (!slowly) {
    if (scenario_.reorders) peer_->set_latency(chance_.between(0us, latency_));
    peer_->send_in_pieces(text, piece);
    if (bytes == whole.size()) asked.sent = after(world_.now(), latency_);
    const bool finishes = last && (manner_ == Manner::half_closes || manner_ == Manner::leaves);
    if (finishes) peer_->finish();
    finished_ = finishes;
    return;
  }
  written_ = std::max(written_, world_.now());
  for (std::size_t at = 0; at < text.size(); at += piece) {
    world_.schedule(written_ - world_.now(),
                    [peer = peer_, part = text.substr(at, piece)] { peer->send(part); });
    written_ += chance_.between(1us, 80ms);
  }
}

void Client::read() {
  if (tunnel_) return tunnel_->read();
  reader_.feed(peer_->take());
  while (!over_ && !waiting_.empty()) {
    if (!head_seen_ && reader_.has_head()) {
      head_seen_ = true;
      judge_time(waiting_.front());
    }
    const auto answer = reader_.next(waiting_.front().question.method == "HEAD");
    if (!answer) break;
    head_seen_ = false;
    const bool switched = answer->status() == 101;
    if (answer->status() / 100 == 1 && !switched) {
      if (answer->status() == 100) told_to_continue(waiting_.front());
      continue;
    }
    const Asked asked = std::move(waiting_.front());
    waiting_.pop_front();
    answered(asked, *answer);
    if (switched) return switch_protocols(asked, *answer);
    if (asked.withheld) give_up_body(asked);
    if (waiting_.empty()) send_next();
  }
  if (over_) return;
  if (reader_.malformed()) {
    ledger_.violated("wire", "a client was sent what is no HTTP");
    return lose_all("malformed");
  }
  if (waiting_.empty() && !reader_.rest().empty()) {
    ledger_.violated("wire", "a client was sent more than it asked for: " +
                                 std::string(reader_.rest().substr(0, 300)));
  }
  if (!peer_->ended()) return;
  // Who is told that no more comes hangs up.
  peer_->finish();
  lose_all(peer_->was_reset() ? "reset" : "closed");
}

/// It asked for that, once, and sends what it has withheld.
void Client::told_to_continue(Asked& asked) {
  if (!asked.question.expects || std::exchange(asked.continued, true)) {
    ledger_.violated("wire", "#" + std::to_string(asked.question.number) +
                                 " was told to continue and did not ask for it");
  }
  if (!std::exchange(asked.withheld, false)) return;
  peer_->send_in_pieces(asked.question.text().substr(asked.question.head().size()), piece_);
  asked.sent = after(world_.now(), latency_);
}

/// Its answer came first: the body need not go out if the connection ends, else it must.
void Client::give_up_body(const Asked& asked) {
  if (chance_.percent(50)) {
    to_ask_.clear();
    over_ = finished_ = true;
    return peer_->finish();
  }
  peer_->send_in_pieces(asked.question.text().substr(asked.question.head().size()), piece_);
}

void Client::answered(const Asked& asked, const Message& answer) {
  const Question& question = asked.question;
  ledger_.heard(answer.status());
  const std::string_view state = answer.field("Idempotency-Status");
  const bool own_problem = state.empty() && answer.number("X-Run") == 0;
  const bool late = asked.sent == never || question.waits;  // ... for what it was told
  if (late && own_problem && (answer.status() == 400 || answer.status() == 408)) {
    return lose(asked, "refused: it did not come whole");
  }
  // What a fallback's upstream did, it did without the key; so did who was sent on without a store.
  const Run* run = ledger_.run(answer.number("X-Run"));
  const bool at_fallback = state == "not-executed" && run != nullptr && run->key.empty();
  const bool without_key = at_fallback || state == "bypassed";
  const std::string key = without_key ? "" : question.identity();
  ledger_.add({.kind = Event::Kind::receive,
               .key = key,
               .request = question.number,
               .run = answer.number("X-Run"),
               .status = answer.status(),
               .state = std::string(state),
               .replayed = answer.field("Idempotent-Replayed") == "true",
               .head = std::string(answer.field("X-Kept")),
               .body = answer.body,
               .connection = connection_});
  const bool final = answer.status() >= 200 || answer.status() == 101;
  if (answer.word(0) != "HTTP/1.1" || !final) {
    ledger_.violated("wire", "an answer without a status line: " + answer.head.substr(0, 40));
  }
  served_ = run != nullptr && !run->at_backup;
  judge_state(question, state);
  if (key.empty()) judge(question, answer);
}

/// What is said of the key is what this route may say.
void Client::judge_state(const Question& question, std::string_view state) {
  const std::string who = "#" + std::to_string(question.number);
  const bool keyless = question.path == keyed_path && question.key.empty();
  const auto missing = scenario_.keys().missing_key;
  if (keyless && missing == policy::MissingKey::pass && !state.empty()) {
    ledger_.violated("keys", who + " had none and was told " + std::string(state));
  }
  if (keyless && missing == policy::MissingKey::reject && state != "key-missing") {
    ledger_.violated("keys", who + " had none and was not refused");
  }
  if (scenario_.fails_open() ? state == "store-unavailable" : state == "bypassed") {
    ledger_.violated("keys", who + " was told " + std::string(state));
  }
}

/// An answer to a request without a key of the client's: its own upstream's, or one of holdfast's.
void Client::judge(const Question& question, const Message& answer) {
  const std::string who = "#" + std::to_string(question.number);
  const bool head_only = question.method == "HEAD";
  const std::uint64_t number = answer.number("X-Run");
  if (number == 0) {
    const bool fallback = answer.status() == 203 && (head_only || answer.body == "fallback");
    const bool problem =
        answer.status() >= 400 && answer.field("Content-Type") == "application/problem+json";
    if (!fallback && !problem) ledger_.violated("answers", who + " has one from nowhere");
    return;
  }
  const Run* run = ledger_.run(number);
  if (run == nullptr || !may_be_told(question, answer, *run)) {
    return ledger_.violated("answers", who + " has another request's");
  }
  const bool same = run->answered && run->status == answer.status() &&
                    (head_only ? answer.body.empty() : answer.body == run->body);
  if (!same) ledger_.violated("answers", who + " has another one than was given");
}

/// Its own run; or, of a generated key, that of a request which nobody can tell from it.
bool Client::may_be_told(const Question& question, const Message& answer, const Run& run) const {
  if (run.request == question.number) return true;
  const std::string_view state = answer.field("Idempotency-Status");
  const bool shared = state == "replayed" || state == "released";
  return scenario_.generates_keys() && question.path == keyed_path && shared &&
         run.content == question.content();
}

void Client::judge_time(const Asked& asked) {
  if (!asked.first || asked.sent == never || !is_fast_reader()) return;
  const Duration taken = world_.now() - asked.sent;
  // What is said within a handshake is heard when that is over.
  const Duration allowed =
      bound(scenario_, asked.question) + latency_ + scenario_.pauses + approach_.handshake;
  if (taken <= allowed) return;
  ledger_.violated("deadline", "#" + std::to_string(asked.question.number) +
                                   " was answered after " + std::to_string(to_milliseconds(taken)) +
                                   " ms, " + std::to_string(to_milliseconds(allowed)) +
                                   " ms were allowed");
}

bool Client::is_fast_reader() const {
  return manner_ == Manner::polite || manner_ == Manner::pipelining ||
         manner_ == Manner::half_closes;
}

/// What it has asked for behind this nobody will answer.
void Client::switch_protocols(const Asked& asked, const Message& answer) {
  if (!asked.question.upgrades || !scenario_.allows_tunnels()) {
    ledger_.violated("tunnel",
                     "#" + std::to_string(asked.question.number) + " did not ask for one");
  }
  to_ask_.clear();
  lose_all("switched");
  ledger_.tunnel(answer.number("X-Run")).client.finished = finished_;
  tunnel_ =
      std::make_unique<TunnelEnd>(world_, scenario_, ledger_, chance_.below(~0ULL), peer_,
                                  ledger_.tunnel(answer.number("X-Run")), TunnelEnd::Side::client,
                                  ledger_.asked(asked.question.number));
  tunnel_->begin(reader_.rest());
}

void Client::lose_all(std::string_view fault) {
  over_ = true;
  for (const Asked& asked : waiting_) lose(asked, fault);
  waiting_.clear();
}

void Client::lose(const Asked& asked, std::string_view fault) {
  ledger_.add({.kind = Event::Kind::lost,
               .key = asked.question.identity(),
               .request = asked.question.number,
               .connection = connection_,
               .fault = std::string(fault)});
}

void Client::must_be_over() {
  if (tunnel_ && !tunnel_->is_over() && peer_->open()) {
    ledger_.violated("tunnel", "a tunnel has no end");
  }
  if (!waiting_.empty() && peer_->closed()) lose_all("closed");  // it never read to the end
  if (!waiting_.empty() && peer_->was_reset()) lose_all("reset");
  for (const Asked& asked : waiting_) {
    ledger_.violated("answers", "#" + std::to_string(asked.question.number) + " has no end");
  }
}

void Client::leave() {
  if (!over_) peer_->finish();
  over_ = true;
}

}  // namespace holdfast::sim
