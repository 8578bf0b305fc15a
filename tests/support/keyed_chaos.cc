#include "tests/support/keyed_chaos.h"

#include <signal.h>

#include <charconv>
#include <set>
#include <stdexcept>
#include <utility>

namespace holdfast::testing {
namespace {

constexpr std::uint64_t hot_keys = 3;
constexpr std::string_view target = "/pay";
const std::vector<std::string> callers = {"alice", "bob"};
const std::vector<std::string> bodies = {"amount=1", "amount=2"};

std::string identity(const std::string& who, const std::string& key) {
  return who + ":" + key;
}

std::string payload(std::string_view method, std::string_view path, std::string_view key,
                    std::string_view body) {
  std::string text;
  for (const std::string_view part : {method, path, key, body}) text.append(part).append(" ");
  return text;
}

std::uint64_t number_in(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

KeyedChaos::KeyedChaos(const ChaosPlan& plan, std::uint64_t seed)
    : plan_(plan),
      dice_(seed),
      upstream_([this](Exchange& exchange) { answer(exchange); }),
      upstream_link_(upstream_.address()) {
  if (plan.store == "redis") {
    redis_.emplace();
    store_link_.emplace("127.0.0.1:" + std::to_string(redis_->port()));
    if (plan.prepare) plan.prepare(*store_link_, upstream_link_);
  }
  for (std::size_t i = 0; i < plan.replicas; ++i) {
    replicas_.push_back(std::make_unique<Holdfast>(setup(i)));
  }
}

KeyedChaos::~KeyedChaos() {
  stopping_ = true;
  for (std::thread& client : clients_) client.join();
}

/// The replicas differ in what a route may: one lets duplicates wait and has a breaker, the other
/// answers them at once and cuts its clients short.
Setup KeyedChaos::setup(std::size_t replica) const {
  const bool patient = replica % 2 == 1;
  Setup setup{.endpoints = {"http://" + upstream_link_.address()}};
  setup.server = "workers = 2\ndrain_timeout = \"3s\"";
  setup.upstream = patient ? "breaker = { open_for = \"100ms\" }" : "breaker = { enabled = false }";
  setup.route = patient ? "timeout = { total = \"5s\" }" : "timeout = { total = \"500ms\" }";
  setup.route +=
      "\n[route.retry]\nattempts = 2\non = [\"connect\", \"reset\", \"429\"]\n"
      "backoff = { base = \"5ms\" }\n"
      "[route.idempotency]\nenabled = true\nlease = \"" +
      std::to_string(lease.count()) + "ms\"\nmax_execution = \"" +
      std::to_string(max_execution.count()) + "ms\"\nmax_response_bytes = \"" +
      std::to_string(largest_kept) + "B\"\n" + plan_.idempotency + "\n";
  if (patient) setup.route += "in_flight_wait = \"300ms\"\n";
  setup.more = "[store]\nkind = \"" + plan_.store + "\"\n";
  if (store_link_) {
    setup.more += "timeout = \"150ms\"\nurl = \"redis://" + store_link_->address() + "/0\"\n";
  } else {
    setup.more += "timeout = \"5s\"\n";
  }
  return setup;
}

// -- the upstream

void KeyedChaos::answer(Exchange& exchange) {
  const Request& request = exchange.request;
  const Headers& headers = request.headers;
  const std::string key = headers.get("Idempotency-Key");
  Event event;
  event.kind = Event::Kind::start;
  event.key = identity(headers.get("Authorization"), key);
  event.request = number_in(headers.get("X-Request"));
  event.run = ++runs_;
  event.payload = payload(request.method, request.target, key, request.body);
  history_.add(event);
  behave(exchange, std::move(event), headers.get("X-Behaviour"));
}

void KeyedChaos::behave(Exchange& exchange, Event event, const std::string& behaviour) {
  const auto say = [&](Event::Kind kind, int status, Headers headers = {}) {
    event.kind = kind;
    event.status = status;
    event.head = "/runs/" + std::to_string(event.run);
    event.payload.clear();
    history_.add(event);
    headers.add("X-Run", std::to_string(event.run));
    headers.add("Location", event.head);
    exchange.respond(status, event.body, headers);
  };
  const auto wait = [](Milliseconds least, std::uint64_t more, std::uint64_t run) {
    std::this_thread::sleep_for(least + Milliseconds(run * 37 % more));
  };
  event.body = "run " + std::to_string(event.run) + " of " + event.key;
  if (behaviour == behaviour::read_close) exchange.close();
  if (behaviour == behaviour::garbage) {
    exchange.send("what?\r\n\r\n");
    exchange.close();
  }
  if (behaviour == behaviour::half_body) {
    exchange.send("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf");
    exchange.close();
  }
  if (behaviour == behaviour::refuse_429) return say(Event::Kind::refuse, 429);
  if (behaviour == behaviour::refuse_503) {
    return say(Event::Kind::refuse, 503, {{"Retry-After", "1"}});
  }
  if (behaviour == behaviour::slow) wait(20ms, 500, event.run);
  if (behaviour == behaviour::stuck) wait(max_execution, 300, event.run);
  if (behaviour == behaviour::oversize) event.body.append(2 * largest_kept, '.');
  const bool failing = behaviour == behaviour::fail_503 || behaviour == behaviour::fail_500;
  say(Event::Kind::respond, failing ? static_cast<int>(number_in(behaviour)) : 201);
}

// -- the clients

void KeyedChaos::be_a_client(std::uint64_t seed) {
  Dice dice(seed);
  while (!stopping_) {
    try {
      ask_once(dice);
    } catch (const WireError&) {  // that replica is not there now
    }
    std::this_thread::sleep_for(dice.between(1ms, 6ms));
  }
}

/// One connection with one request or a few, read to the end or given up.
void KeyedChaos::ask_once(Dice& dice) {
  RawClient client(dice.one_of(replicas_)->address());
  const std::uint64_t connection = ++connections_;
  std::vector<Question> questions(dice.chance(15) ? 2 + dice.below(2) : 1);
  std::string text;
  for (Question& question : questions) {
    question = draw_question(dice);
    text += tell_send(question, connection);
  }
  client.send_if_open(text);
  if (dice.chance(8)) {
    std::this_thread::sleep_for(dice.between(0ms, 30ms));
    client.reset();
    for (const Question& question : questions) tell_lost(question, connection, "aborted");
    return;
  }
  bool readable = true;
  for (const Question& question : questions) {
    if (readable) {
      readable = tell_answer(client, question, connection).complete;
    } else {
      tell_lost(question, connection, "an earlier answer broke off");
    }
  }
}

KeyedChaos::Question KeyedChaos::draw_question(Dice& dice) {
  Question question;
  question.request = ++requests_;
  const std::uint64_t first = dice.chance(10) ? ++hottest_ : hottest_.load();
  const std::uint64_t number =
      dice.chance(15) ? dice.below(first + 1) : first + dice.below(hot_keys);
  question.who = callers[dice.chance(15) ? 1 : 0];
  question.key = "k" + std::to_string(number);
  question.body = bodies[dice.chance(6) ? 1 : 0];
  question.behaviour = dice.one_of(plan_.behaviours);
  return question;
}

std::string KeyedChaos::tell_send(const Question& question, std::uint64_t connection) {
  Event event;
  event.kind = Event::Kind::send;
  event.key = identity(question.who, question.key);
  event.request = question.request;
  event.payload = payload("POST", target, question.key, question.body);
  event.connection = connection;
  history_.add(std::move(event));
  return request_text("POST", target,
                      {{"Authorization", question.who},
                       {"Idempotency-Key", question.key},
                       {"X-Request", std::to_string(question.request)},
                       {"X-Behaviour", question.behaviour}},
                      question.body);
}

void KeyedChaos::tell_lost(const Question& question, std::uint64_t connection, std::string fault,
                           std::string detail) {
  Event event;
  event.kind = Event::Kind::lost;
  event.key = identity(question.who, question.key);
  event.request = question.request;
  event.connection = connection;
  event.fault = std::move(fault);
  event.body = std::move(detail);
  history_.add(std::move(event));
}

Response KeyedChaos::tell_answer(RawClient& client, const Question& question,
                                 std::uint64_t connection) {
  Response response = client.read_response("POST");
  if (!response.complete) {
    tell_lost(question, connection, std::string(name(response.fault)), response.reason);
    return response;
  }
  Event event;
  event.kind = Event::Kind::receive;
  event.key = identity(question.who, question.key);
  event.request = question.request;
  event.run = number_in(response.headers.get("X-Run"));
  event.status = response.status;
  event.state = response.headers.get("Idempotency-Status");
  event.replayed = response.headers.get("Idempotent-Replayed") == "true";
  event.head = response.headers.get("Location");
  event.body = response.body;
  event.connection = connection;
  history_.add(std::move(event));
  return response;
}

// -- the troubles

void KeyedChaos::run() {
  for (std::size_t i = 0; i < plan_.clients; ++i) {
    clients_.emplace_back([this, seed = dice_.below(UINT64_MAX)] { be_a_client(seed); });
  }
  for (int step = 0; step < plan_.steps; ++step) trouble();
  stopping_ = true;
  for (std::thread& client : clients_) client.join();
  clients_.clear();
  calm_down();
}

void KeyedChaos::pause(Milliseconds least, Milliseconds most) {
  std::this_thread::sleep_for(dice_.between(least, most));
}

void KeyedChaos::trouble() {
  const Trouble what = dice_.one_of(plan_.troubles);
  switch (what) {
    case Trouble::none:
      pause(20ms, 100ms);
      break;
    case Trouble::kill:
    case Trouble::stop:
    case Trouble::reload:
      trouble_a_replica(what);
      break;
    case Trouble::store_cut:
    case Trouble::store_stall:
    case Trouble::store_delay:
    case Trouble::store_lost_answers:
    case Trouble::store_outage:
    case Trouble::client_pause:
    case Trouble::script_flush:
      trouble_the_store(what);
      break;
    case Trouble::upstream_refuses:
    case Trouble::upstream_cut:
    case Trouble::upstream_half_close:
      trouble_the_upstream(what);
      break;
  }
  if (store_link_) store_link_->heal();
  upstream_link_.heal();
  pause(10ms, 120ms);
}

void KeyedChaos::trouble_a_replica(Trouble what) {
  Holdfast& replica = *dice_.one_of(replicas_);
  if (what == Trouble::reload) {
    replica.signal(SIGHUP);
  } else if (what == Trouble::stop) {
    replica.signal(SIGSTOP);
    pause(lease / 2, lease * 3);
    replica.signal(SIGCONT);
  } else {
    ++kills_;
    replica.signal(SIGKILL);
    replica.process().wait_for_exit();
    replica.start_again();
  }
}

void KeyedChaos::trouble_the_store(Trouble what) {
  switch (what) {
    case Trouble::store_cut:
      store_link_->cut();
      return;
    case Trouble::store_stall:
      store_link_->stall();
      return pause(50ms, 400ms);
    case Trouble::store_delay:
      store_link_->delay(dice_.between(1ms, 250ms));
      return pause(100ms, 300ms);
    case Trouble::store_lost_answers:
      store_link_->lose_answers();
      return pause(20ms, 150ms);
    case Trouble::client_pause:
      redis_->command({"CLIENT", "PAUSE", std::to_string(dice_.below(300)), "ALL"});
      return;
    case Trouble::script_flush:
      redis_->command({"SCRIPT", "FLUSH"});
      return;
    default:
      return store_outage();
  }
}

void KeyedChaos::store_outage() {
  store_link_->refuse();
  store_link_->cut();
  // Only when the last connection is gone can no acknowledgement be on its way.
  if (!eventually([this] { return store_link_->open_connections() == 0; })) {
    throw std::runtime_error("a connection to the store outlives its end");
  }
  history_.add({.kind = Event::Kind::outage_begins});
  hottest_ += 2 * hot_keys;  // keys that nobody has claimed
  pause(100ms, 250ms);
  history_.add({.kind = Event::Kind::outage_ends});
}

void KeyedChaos::trouble_the_upstream(Trouble what) {
  if (what == Trouble::upstream_cut) return upstream_link_.cut();
  if (what == Trouble::upstream_refuses) {
    upstream_link_.refuse();
  } else {
    upstream_link_.half_close();
  }
  pause(20ms, 150ms);
}

// -- the end

void KeyedChaos::calm_down() {
  constexpr Milliseconds enough{15000};  // for all keys together
  std::set<std::string> asked;
  for (const Event& event : history_.events()) asked.insert(event.key);
  asked.erase("");
  history_.add({.kind = Event::Kind::calm});
  const Stopwatch since;
  for (const std::string& key : asked) {
    for (const auto& replica : replicas_) {
      eventually([&] { return settled(key, *replica) || since.elapsed() > enough; });
    }
  }
}

/// Asks once more; true unless that was put off.
bool KeyedChaos::settled(const std::string& key, const Holdfast& replica) {
  const auto colon = key.find(':');
  const Question question{++requests_, key.substr(0, colon), key.substr(colon + 1), bodies.front(),
                          behaviour::ok};
  const std::uint64_t connection = ++connections_;
  RawClient client(replica.address());
  client.send_if_open(tell_send(question, connection));
  const Response response = tell_answer(client, question, connection);
  const bool unknown = response.headers.get("Idempotency-Status") == "outcome-unknown";
  const bool later = response.headers.has("Retry-After") || (unknown && plan_.heals);
  if (response.complete && !later) return true;
  std::this_thread::sleep_for(100ms);  // so that a story can be read
  return false;
}

}  // namespace holdfast::testing
