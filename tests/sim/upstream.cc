#include "tests/sim/upstream.h"

#include <utility>

#include "tests/sim/reading.h"

namespace holdfast::sim {
namespace {

using testing::Event;

struct Status {
  int code;
  std::string_view fields = "";
  bool refuses = false;  // nothing was done: idempotency §2.6
};

constexpr Status refusals[] = {{429, "", true},
                               {429, "Retry-After: 0\r\n", true},
                               {429, "Retry-After: 2\r\n", true},
                               {503, "Retry-After: 0\r\n", true},
                               {401, "", true}};
constexpr Status failures[] = {{500}, {502}, {503}, {504}, {404}};
constexpr Status successes[] = {{200}, {200}, {200}, {201}, {302, "Location: /there\r\n"}};

std::string location_of(const Run& run) {
  return "/runs/" + std::to_string(run.number);
}

std::string chunked(std::string_view body, std::size_t size) {
  std::string text;
  constexpr char digits[] = "0123456789abcdef";
  for (; !body.empty(); body.remove_prefix(std::min(size, body.size()))) {
    const std::string_view piece = body.substr(0, size);
    std::string hex;
    for (std::size_t n = piece.size(); n > 0; n /= 16) hex.insert(hex.begin(), digits[n % 16]);
    text.append(hex).append("\r\n").append(piece).append("\r\n");
  }
  return text.append("0\r\n\r\n");
}

}  // namespace

std::string answer_of(const Run& run, std::size_t size) {
  std::string text = "run " + std::to_string(run.number) + " of #" + std::to_string(run.request);
  const std::string filler = "." + std::to_string(run.number);
  while (text.size() < size) text.append(filler);
  return text;
}

Upstream::Upstream(test::World& world, test::FakeNetwork& network, const NameServer& names,
                   Wellness& wellness, const Scenario& scenario, Ledger& ledger)
    : world_(world),
      names_(names),
      wellness_(wellness),
      scenario_(scenario),
      ledger_(ledger),
      chance_(scenario.seed ^ 0x5eed0001) {
  network.on_connect = [this](const std::string& address) { return connected(address); };
  network.on_accept = [this](test::Peer& peer) { accepted(peer); };
  change_mood();
}

void Upstream::change_mood() {
  const bool well = !chance_.percent(scenario_.bad_mood_percent);
  mood_ = well ? Mood::well
               : chance_.one_of({Mood::busy, Mood::failing, Mood::refusing, Mood::silent,
                                 Mood::broken, Mood::broken});
  trouble_ = well ? chance_.one_of<std::uint64_t>({0, 5}) : chance_.number(20, 100);
  ledger_.note("the upstream's mood is " + std::to_string(static_cast<int>(mood_)) + ", trouble " +
               std::to_string(trouble_) + " %");
}

void Upstream::calm() {
  calm_ = true;
  for (Connection& connection : connections_) {
    connection.peer->take_everything();
    connection.peer->set_latency(0us);
    // Whoever looked at nothing more on a connection that seems to be in order has come back.
    if (connection.deaf && connection.peer->open()) connection.peer->reset();
  }
}

test::ConnectOutcome Upstream::connected(const std::string& address) {
  using Kind = test::ConnectOutcome::Kind;
  test::ConnectOutcome outcome;
  if (calm_) return outcome;
  outcome.delay = chance_.between(0us, scenario_.upstream_latency);
  if (mood_ == Mood::refusing && bad()) outcome.kind = Kind::fail;
  if (mood_ == Mood::silent && bad()) outcome.kind = Kind::silence;
  if (names_.is_dead(address)) outcome.kind = chance_.one_of({Kind::fail, Kind::silence});
  return outcome;
}

void Upstream::accepted(test::Peer& peer) {
  Connection& connection = connections_.emplace_back(Connection{peer.shared_from_this()});
  if (!calm_) peer.set_latency(chance_.between(0us, scenario_.upstream_latency));
  peer.on_change = [this, &connection] { read(connection); };
  const bool slow = (mood_ == Mood::silent || mood_ == Mood::broken) && bad();
  if (slow && chance_.percent(30)) read_in_sips(world_, connection.peer, chance_, 150ms);
  if (mood_ == Mood::broken && bad() && chance_.percent(30)) {
    return chance_.percent(50) ? close(connection) : peer.take_at_most(chance_.below(400));
  }
  read(connection);
}

void Upstream::close(Connection& connection) {
  connection.deaf = true;
  if (chance_.percent(50)) {
    connection.peer->finish();
  } else {
    connection.peer->reset();
  }
}

void Upstream::read(Connection& connection) {
  if (connection.tunnel) return connection.tunnel->read();
  connection.reader.feed(connection.peer->take());
  while (!connection.deaf) {
    const auto request = connection.reader.next();
    if (!request) break;
    if (Wellness::is_check(request->head)) {
      answer_check(connection);
    } else {
      execute(connection, *request);
    }
  }
  if (connection.reader.malformed()) {
    ledger_.violated("wire", "an upstream was sent what is no HTTP");
  }
  if (!connection.deaf && !connection.reader.rest().empty()) half_read(connection);
  // Who sends no more is answered, then closed.
  if (connection.peer->ended() && connection.peer->open()) connection.peer->finish();
}

/// A request is on its way: some answer, or leave, before they have it.
void Upstream::half_read(Connection& connection) {
  if (mood_ != Mood::broken || !bad() || !chance_.percent(25)) return;
  if (Wellness::is_check(connection.reader.rest())) return close(connection);
  if (!connection.reader.has_head() || chance_.percent(50)) return close(connection);
  Message request;
  request.head = connection.reader.rest().substr(0, connection.reader.rest().find("\r\n\r\n") + 2);
  if (!request.field("Idempotency-Key").empty()) return close(connection);
  Run& run = begin(connection, request, "");
  // It has not read that. But whoever asks the same under a generated key may be told its answer.
  run.content += ledger_.payload(run.request);
  connection.deaf = true;
  Answer early = answer(run, request);
  early.finish = early.finish || chance_.percent(50);
  say(connection, early);
}

Run& Upstream::begin(const Connection& connection, const Message& request, std::string payload) {
  std::string key;
  const bool backup = connection.peer->address.starts_with(backup_network);
  if (const std::string_view named = request.field("Idempotency-Key"); !named.empty() && !backup) {
    key.append(request.field("Authorization")).append(":").append(named);
  }
  std::string content(request.field("Authorization"));
  content.append(" ").append(payload);
  const bool knows_keys = scenario_.keys().upstream_honours_key && !key.empty();
  if (const auto known = runs_.find(key + content); knows_keys && known != runs_.end()) {
    Run& run = ledger_.begun_run(known->second);
    if (!run.refused) return run;
  }
  Run& run = ledger_.new_run(request.number("X-Number"), key);
  run.content = std::move(content);
  run.at_backup = backup;
  run.of_keyed_route = request.word(1) == keyed_path;
  if (knows_keys) runs_[key + run.content] = run.number;
  judge_deadline(run, request);
  ledger_.add({.kind = Event::Kind::start,
               .key = run.key,
               .request = run.request,
               .payload = std::move(payload),
               .run = run.number});
  return run;
}

void Upstream::execute(Connection& connection, const Message& request) {
  std::string payload(request.word(0));
  payload.append(" ").append(request.word(1)).append(" ").append(request.field("Idempotency-Key"));
  payload.append(" ").append(request.body);
  Run& run = begin(connection, request, std::move(payload));
  if (mood_ == Mood::broken && bad()) {
    if (chance_.percent(40)) return close(connection);  // done, and nobody will know
    if (chance_.percent(20)) {
      connection.deaf = true;  // ... nor that
      return;
    }
  }
  if (upgraded(connection, run, request)) return;
  Answer said = answer(run, request);
  if (mood_ == Mood::broken && bad()) spoil(said);
  if (++connection.answers > 1 && !calm_ && chance_.percent(5)) said.finish = true;
  say(connection, said);
}

void Upstream::answer_check(Connection& connection) {
  const Wellness::Answer said = wellness_.answer(connection.peer->address);
  Answer answer;
  answer.bytes = said.bytes;
  answer.delay = said.delay;
  answer.finish = said.closes;
  say(connection, answer);
}

bool Upstream::upgraded(Connection& connection, Run& run, const Message& request) {
  const std::string_view wanted = request.field("Upgrade");
  if (wanted.empty()) return false;
  if (!scenario_.allows_tunnels()) ledger_.violated("wire", "an upstream was asked for a tunnel");
  if (!chance_.percent(80)) return false;  // it need not
  const bool other = !calm_ && chance_.percent(10);
  run.status = 101;
  run.answered = true;
  ledger_.add({.kind = Event::Kind::respond,
               .request = run.request,
               .run = run.number,
               .status = run.status,
               .head = location_of(run)});
  std::string text("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ");
  text.append(other ? "other" : wanted).append("\r\nX-Run: ").append(std::to_string(run.number));
  text.append("\r\nX-Kept: ").append(location_of(run)).append("\r\n\r\n");
  const bool slow = mood_ == Mood::silent && bad();
  world_.schedule(slow ? chance_.between(1ms, 1200ms) : chance_.between(0ms, 5ms),
                  [this, &connection, &run, other, text] {
                    if (!connection.peer->open()) return;
                    connection.peer->send(text);
                    if (!other) open_tunnel(connection, run);
                  });
  return true;
}

void Upstream::open_tunnel(Connection& connection, Run& run) {
  connection.tunnel = std::make_unique<TunnelEnd>(
      world_, scenario_, ledger_, chance_.below(~0ULL), connection.peer, ledger_.tunnel(run.number),
      TunnelEnd::Side::upstream, ledger_.asked(run.request));
  connection.tunnel->begin(connection.peer->take());
}

void Upstream::judge_deadline(const Run& run, const Message& request) {
  const std::string_view told = request.field(deadline_field);
  if (scenario_.plain_route().timeout.deadline_header.empty()) return;
  const auto& route = run.of_keyed_route ? scenario_.keyed_route() : scenario_.plain_route();
  const Duration total = *route.timeout.total;
  const auto asked = std::chrono::milliseconds(
      ledger_.deadline_of(request.number("X-Number")).value_or(3'600'000));
  const auto given = std::chrono::milliseconds(number_in(told));
  if (!told.empty() && given <= std::min<Duration>(total, asked) + 1ms) return;
  ledger_.violated("deadline", "an upstream was told of '" + std::string(told) + "' ms for #" +
                                   std::to_string(run.request));
}

/// What becomes of it: drawn once, and the same for whoever asks again with its key.
void Upstream::conclude(Run& run) {
  if (std::exchange(run.answered, true)) return;
  Status status = successes[chance_.below(std::size(successes))];
  if (mood_ == Mood::failing && bad()) status = failures[chance_.below(std::size(failures))];
  if (mood_ == Mood::busy && bad()) status = refusals[chance_.below(std::size(refusals))];
  const bool large = !calm_ && chance_.percent(5);
  run.status = status.code;
  run.fields = status.fields;
  run.refused = status.refuses;
  run.body = answer_of(run, large ? 3000 + chance_.below(3000) : chance_.below(200));
  ledger_.add({.kind = run.refused ? Event::Kind::refuse : Event::Kind::respond,
               .key = run.key,
               .request = run.request,
               .run = run.number,
               .status = run.status,
               .head = location_of(run),
               .body = run.body});
}

Upstream::Answer Upstream::answer(Run& run, const Message& request) {
  conclude(run);
  const bool bodiless = request.word(0) == "HEAD";
  Answer answer;
  if (!calm_) {
    const bool slow = mood_ == Mood::silent ? bad() : chance_.percent(25);
    answer.delay = slow ? chance_.between(1ms, 1200ms) : chance_.between(0ms, 5ms);
    if (chance_.percent(30)) answer.piece = 1 + chance_.below(300);
  }
  std::string& text = answer.bytes;
  if (!calm_ && chance_.percent(5)) text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  text.append("HTTP/1.1 ").append(std::to_string(run.status)).append(" Said\r\n");
  text.append(run.fields).append("X-Run: ").append(std::to_string(run.number));
  text.append("\r\nX-Kept: ").append(location_of(run)).append("\r\n");
  const std::uint64_t framing = chance_.below(10);
  if (bodiless || framing < 6) {
    text.append("Content-Length: ").append(std::to_string(run.body.size())).append("\r\n\r\n");
    if (!bodiless) text.append(run.body);
  } else if (framing < 9) {
    text.append("Transfer-Encoding: chunked\r\n\r\n");
    text.append(chunked(run.body, 1 + chance_.below(500)));
  } else {
    text.append("\r\n").append(run.body);
    answer.finish = true;
  }
  return answer;
}

/// What should be an answer goes wrong on its way.
void Upstream::spoil(Answer& answer) {
  // A body that lasts until close looks whole when it ends early: only a reset cuts it.
  const bool until_close = answer.finish;
  switch (chance_.below(5)) {
    case 0:
      answer.cut_at = chance_.below(answer.bytes.size());
      answer.reset = until_close || chance_.percent(50);
      break;
    case 1:
      answer.bytes = "what? " + answer.bytes;
      break;
    case 2:
      answer.bytes.insert(answer.bytes.find("X-Run"),
                          "X-Long: " + std::string(70000, 'l') + "\r\n");
      break;
    case 3: {
      std::string flood;
      for (int i = 0; i < 20; ++i) flood.append("HTTP/1.1 102 Processing\r\n\r\n");
      answer.bytes.insert(0, flood);
      break;
    }
    default:
      answer.reset = true;
  }
}

void Upstream::say(Connection& connection, const Answer& answer) {
  world_.schedule(answer.delay, [this, &connection, answer] {
    test::Peer& peer = *connection.peer;
    if (!peer.open()) return;
    if (scenario_.reorders && !calm_) {
      peer.set_latency(chance_.between(0us, scenario_.upstream_latency));
    }
    peer.send_in_pieces(std::string_view(answer.bytes).substr(0, answer.cut_at), answer.piece);
    const bool cut = answer.cut_at != std::string::npos;
    if (cut || answer.finish || answer.reset) connection.deaf = true;
    if (answer.reset) {
      peer.reset();
    } else if (cut && chance_.percent(20)) {
      return;  // it stands still
    } else if (cut || answer.finish) {
      peer.finish();
    }
  });
}

}  // namespace holdfast::sim
