#include "holdfast/policy/breaker.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

namespace {

using Outcome = Breaker::Outcome;
using enum BreakerState;

constexpr TimePoint start(1000s);

// A breaker with a clock to turn and calls to make.
class Bench {
 public:
  explicit Bench(const BreakerOptions& options) : breaker(options) {}

  std::optional<Breaker::Permit> acquire() {
    const auto permit = breaker.acquire(now);
    take_transitions();
    return permit ? std::optional(*permit) : std::nullopt;
  }
  void record(Breaker::Permit permit, Outcome outcome, Duration latency = 0ms) {
    breaker.record(permit, outcome, latency, now, rng);
    take_transitions();
  }
  void call(Outcome outcome, Duration latency = 0ms) {
    const auto permit = acquire();
    REQUIRE(permit);
    record(*permit, outcome, latency);
  }
  void calls(int count, Outcome outcome, Duration latency = 0ms) {
    for (int i = 0; i < count; ++i) call(outcome, latency);
  }
  /// What is left of the pause. REQUIRES: open.
  Duration pause() {
    const auto refused = breaker.acquire(now);
    REQUIRE_FALSE(refused);
    return refused.error().retry_after;
  }

  Breaker breaker;
  TimePoint now = start;
  Rng rng{5};
  std::string history;  // every transition since the start

 private:
  void take_transitions() {
    while (const auto moved = breaker.take_transition()) {
      history += std::string(name(moved->from)) + ">" + std::string(name(moved->to)) + " ";
    }
  }
};

BreakerOptions quick_options() {
  BreakerOptions options;
  options.min_requests = 1;
  return options;
}

Bench opened(const BreakerOptions& options) {
  Bench bench(options);
  bench.call(Outcome::failure);
  REQUIRE(bench.breaker.state() == open);
  return bench;
}

Bench half_opened(const BreakerOptions& options) {
  Bench bench = opened(options);
  bench.now += 2 * options.open_for;
  return bench;
}

}  // namespace

TEST_CASE("the defaults are the contract's") {
  const BreakerOptions options;
  ConditionSet failures;
  for (const std::string_view condition : {"connect", "reset", "timeout", "5xx"}) {
    REQUIRE(failures.add(condition));
  }
  CHECK(options.enabled);
  CHECK(options.window == 10s);
  CHECK(options.min_requests == 20);
  CHECK(options.failure_rate == 0.5);
  CHECK_FALSE(options.consecutive_failures);
  CHECK_FALSE(options.slow_call);
  CHECK(options.slow_call_rate == 1.0);
  CHECK(options.failures == failures);
  CHECK(options.open_for == 5s);
  CHECK(options.open_max == 60s);
  CHECK(options.half_open_requests == 3);
}

TEST_CASE("states have the names of the metric") {
  CHECK(name(closed) == "closed");
  CHECK(name(open) == "open");
  CHECK(name(half_open) == "half_open");
}

TEST_CASE("failure_rate opens from min_requests on, at the share itself") {
  struct Row {
    int min_requests;
    double rate;
    int successes, failures;  // in this order
    BreakerState state;
  };
  for (const Row& row : {
           Row{20, 0.5, 0, 19, closed},
           Row{20, 0.5, 0, 20, open},
           Row{20, 0.5, 10, 10, open},
           Row{20, 0.5, 11, 10, closed},
           Row{20, 0.5, 100, 99, closed},
           Row{20, 0.5, 100, 100, open},
           Row{100, 0.07, 93, 7, open},
           Row{100, 0.29, 71, 29, open},
           Row{1, 1.0, 0, 1, open},
           Row{1, 1.0, 1, 50, closed},
           Row{1, 0.0, 50, 0, closed},  // no failure is no reason, whatever the rate
           Row{1, 0.0, 50, 1, open},
       }) {
    BreakerOptions options;
    options.min_requests = row.min_requests;
    options.failure_rate = row.rate;
    Bench bench(options);
    bench.calls(row.successes, Outcome::success);
    bench.calls(row.failures, Outcome::failure);
    CAPTURE(row.successes);
    CAPTURE(row.failures);
    CHECK(bench.breaker.state() == row.state);
  }
}

TEST_CASE("a success may be the result that completes min_requests") {
  BreakerOptions options;
  options.min_requests = 4;
  Bench bench(options);
  bench.calls(3, Outcome::failure);
  CHECK(bench.breaker.state() == closed);
  bench.call(Outcome::success);
  CHECK(bench.breaker.state() == open);
}

TEST_CASE("results leave the window with their bucket") {
  BreakerOptions options;
  options.min_requests = 4;
  Bench bench(options);
  bench.calls(3, Outcome::failure);

  SUBCASE("just before, they count") {
    bench.now += 10s - 1ns;
    bench.call(Outcome::failure);
    CHECK(bench.breaker.state() == open);
  }
  SUBCASE("just after, they do not") {
    bench.now += 10s;
    bench.calls(3, Outcome::failure);
    CHECK(bench.breaker.state() == closed);
  }
}

TEST_CASE("ignored results count for nothing") {
  BreakerOptions options;
  options.min_requests = 2;
  options.consecutive_failures = 2;
  Bench bench(options);
  bench.call(Outcome::failure);
  bench.calls(50, Outcome::ignored, 1h);
  CHECK(bench.breaker.state() == closed);
  bench.call(Outcome::failure);  // still the second in a row
  CHECK(bench.breaker.state() == open);
}

TEST_CASE("consecutive_failures opens whatever min_requests says") {
  BreakerOptions options;
  options.min_requests = 1000;
  options.consecutive_failures = 3;
  Bench bench(options);
  bench.calls(2, Outcome::failure);
  bench.call(Outcome::success);
  bench.calls(2, Outcome::failure);
  CHECK(bench.breaker.state() == closed);
  bench.now += 24h;  // no window either
  bench.call(Outcome::failure);
  CHECK(bench.breaker.state() == open);
}

TEST_CASE("slow_call_rate opens from min_requests on, successes and failures alike") {
  BreakerOptions options;
  options.min_requests = 4;
  options.slow_call = 100ms;
  options.slow_call_rate = 0.75;
  options.failure_rate = 1.0;
  Bench bench(options);
  bench.call(Outcome::success, 100ms);  // not slower than slow_call
  bench.calls(2, Outcome::success, 101ms);
  CHECK(bench.breaker.state() == closed);

  SUBCASE("reached") {
    bench.call(Outcome::failure, 101ms);
    CHECK(bench.breaker.state() == open);
  }
  SUBCASE("not reached") {
    bench.call(Outcome::success, 99ms);
    CHECK(bench.breaker.state() == closed);
  }
  SUBCASE("switched off") {
    options.slow_call.reset();
    bench.breaker.reconfigure(options);
    bench.calls(50, Outcome::success, 1h);
    CHECK(bench.breaker.state() == closed);
  }
}

TEST_CASE("an open breaker refuses and says how long") {
  Bench bench = opened(quick_options());
  const Duration pause = bench.pause();
  CHECK(pause >= 5s);
  CHECK(pause <= 5500ms);
  bench.now += pause - 1ns;
  CHECK(bench.pause() == 1ns);
  CHECK(bench.breaker.state() == open);
  bench.now += 1ns;
  CHECK(bench.acquire());
  CHECK(bench.history == "closed>open open>half_open ");
}

TEST_CASE("the pause doubles with each re-opening in a row, up to open_max, and starts anew") {
  Bench bench = opened(quick_options());
  for (const Duration expected : {5s, 10s, 20s, 40s, 60s, 60s}) {
    const Duration pause = bench.pause();
    CHECK(pause >= expected);
    CHECK(pause <= expected + expected / 10);
    bench.now += pause;
    bench.call(Outcome::failure);
  }
  bench.now += bench.pause();
  bench.calls(3, Outcome::success);
  REQUIRE(bench.breaker.state() == closed);
  bench.call(Outcome::failure);
  CHECK(bench.pause() <= 5500ms);
}

TEST_CASE("what is added to the pause differs from opening to opening") {
  std::vector<Duration> pauses;
  Rng seeds(1);
  for (int i = 0; i < 200; ++i) {
    Bench bench(quick_options());
    bench.rng = Rng(seeds.next());
    bench.call(Outcome::failure);
    pauses.push_back(bench.pause());
  }
  const auto [least, most] = std::ranges::minmax(pauses);
  CHECK(least < 5050ms);
  CHECK(most > 5450ms);
}

TEST_CASE("an open_for longer than open_max is kept, and not doubled") {
  BreakerOptions options = quick_options();
  options.open_for = 2min;
  Bench bench = opened(options);
  CHECK(bench.pause() >= 2min);
  bench.now += bench.pause();
  bench.call(Outcome::failure);
  CHECK(bench.pause() >= 2min);
  CHECK(bench.pause() <= 132s);
}

TEST_CASE("half-open admits so many probes at a time and closes when so many have succeeded") {
  Bench bench = half_opened(quick_options());
  std::vector<Breaker::Permit> probes;
  for (int i = 0; i < 3; ++i) {
    const auto probe = bench.acquire();
    REQUIRE(probe);
    CHECK(probe->probe);
    probes.push_back(*probe);
  }
  const auto refused = bench.breaker.acquire(bench.now);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().retry_after == 1s);

  bench.record(probes[0], Outcome::success);
  bench.record(probes[1], Outcome::success);
  CHECK(bench.breaker.state() == half_open);
  bench.record(probes[2], Outcome::success);
  CHECK(bench.history == "closed>open open>half_open half_open>closed ");
}

TEST_CASE("one failed probe re-opens, and what the others come to changes nothing") {
  Bench bench = half_opened(quick_options());
  const auto first = bench.acquire();
  const auto second = bench.acquire();
  REQUIRE(first);
  REQUIRE(second);
  bench.record(*first, Outcome::failure);
  CHECK(bench.breaker.state() == open);
  const Duration pause = bench.pause();
  bench.record(*second, Outcome::failure);
  CHECK(bench.pause() == pause);
  CHECK(bench.history == "closed>open open>half_open half_open>open ");
}

TEST_CASE("an ignored probe gives its place back") {
  BreakerOptions options = quick_options();
  options.half_open_requests = 1;
  Bench bench = half_opened(options);
  for (int i = 0; i < 10; ++i) {
    const auto probe = bench.acquire();
    REQUIRE(probe);
    CHECK_FALSE(bench.acquire());
    bench.record(*probe, Outcome::ignored);
    CHECK(bench.breaker.state() == half_open);
  }
  bench.call(Outcome::success);
  CHECK(bench.breaker.state() == closed);
}

TEST_CASE("an upstream that opened it by being slow has to be fast again") {
  BreakerOptions options = quick_options();
  options.slow_call = 100ms;
  options.slow_call_rate = 0.5;
  Bench bench(options);
  bench.call(Outcome::success, 1s);
  REQUIRE(bench.breaker.state() == open);
  bench.now += bench.pause();

  SUBCASE("still slow") {
    bench.calls(2, Outcome::success, 1s);
    bench.call(Outcome::success, 1ms);
    REQUIRE(bench.breaker.state() == open);

    bench.now += bench.pause();  // the next probes are judged by themselves
    bench.call(Outcome::success, 1s);
    bench.calls(2, Outcome::success, 1ms);
    CHECK(bench.breaker.state() == closed);
  }
  SUBCASE("fast enough") {
    bench.call(Outcome::success, 1s);
    bench.calls(2, Outcome::success, 1ms);
    CHECK(bench.breaker.state() == closed);
  }
}

TEST_CASE("closed again it starts with an empty window") {
  BreakerOptions options;
  options.min_requests = 2;
  options.open_for = 1s;
  options.consecutive_failures = 2;
  Bench bench(options);
  bench.calls(2, Outcome::failure);
  bench.now += 2s;
  bench.calls(3, Outcome::success);
  REQUIRE(bench.breaker.state() == closed);
  bench.call(Outcome::failure);
  CHECK(bench.breaker.state() == closed);
}

TEST_CASE("the rest of a pause is never zero") {
  BreakerOptions options = quick_options();
  options.open_for = 0s;
  options.half_open_requests = 1;
  Bench bench = opened(options);
  REQUIRE(bench.acquire());
  const auto refused = bench.breaker.acquire(bench.now);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().retry_after > 0s);
}

TEST_CASE("a breaker that is off admits all and counts nothing") {
  BreakerOptions options = quick_options();
  options.enabled = false;
  Bench bench(options);
  bench.calls(1000, Outcome::failure);
  CHECK(bench.history.empty());
  options.enabled = true;
  options.min_requests = 20;
  bench.breaker.reconfigure(options);
  bench.calls(19, Outcome::failure);
  CHECK(bench.breaker.state() == closed);
}

TEST_CASE("a reload keeps the state, the pause and the counts") {
  BreakerOptions options;
  options.min_requests = 4;
  Bench bench(options);
  bench.calls(3, Outcome::failure);

  SUBCASE("counts") {
    options.failure_rate = 0.9;
    bench.breaker.reconfigure(options);
    bench.call(Outcome::failure);
    CHECK(bench.breaker.state() == open);
  }
  SUBCASE("a new window length begins an empty window") {
    options.window = 20s;
    bench.breaker.reconfigure(options);
    bench.calls(3, Outcome::failure);
    CHECK(bench.breaker.state() == closed);
  }
  SUBCASE("an open breaker stays open for as long as it said") {
    bench.call(Outcome::failure);
    const Duration pause = bench.pause();
    options.open_for = 1ms;
    bench.breaker.reconfigure(options);
    CHECK(bench.pause() == pause);
  }
  SUBCASE("probes that are out come home") {
    bench.call(Outcome::failure);
    bench.now += bench.pause();
    const auto probe = bench.acquire();
    REQUIRE(probe);
    options.half_open_requests = 1;
    bench.breaker.reconfigure(options);
    CHECK_FALSE(bench.acquire());
    bench.record(*probe, Outcome::success);
    CHECK(bench.breaker.state() == closed);
  }
  SUBCASE("switching off closes, and voids the permits that are out") {
    bench.call(Outcome::failure);
    bench.now += bench.pause();
    const auto probe = bench.acquire();
    REQUIRE(probe);
    options.enabled = false;
    bench.breaker.reconfigure(options);
    CHECK(bench.breaker.state() == closed);
    options.enabled = true;
    options.min_requests = 1;
    bench.breaker.reconfigure(options);
    bench.record(*probe, Outcome::failure);
    CHECK(bench.breaker.state() == closed);
  }
}

// Every sequence of short events, against a model that knows no buckets, no epochs and no
// arithmetic of pauses: it keeps all results with their times and lists who is out.
namespace {

enum class Event {
  acquire,
  oldest_succeeds,
  oldest_fails,
  oldest_ignored,
  newest_fails,
  two_seconds_pass,
  six_seconds_pass
};
constexpr std::array all_events = {
    Event::acquire,      Event::oldest_succeeds,  Event::oldest_fails,    Event::oldest_ignored,
    Event::newest_fails, Event::two_seconds_pass, Event::six_seconds_pass};
constexpr std::string_view event_letters = "asfinTS";

// Pauses of 5 s and, from the second on, of 7 s: with up to a tenth added, no multiple of two
// seconds lies between their shortest and longest, so that the model need not know what was drawn.
BreakerOptions model_options(int min_requests, int half_open_requests) {
  BreakerOptions options;
  options.min_requests = min_requests;
  options.half_open_requests = half_open_requests;
  options.open_for = 5s;
  options.open_max = 7s;
  return options;
}

struct Model {
  struct Call {
    int period;  // the how-manieth state of the breaker admitted it
  };

  BreakerState state = closed;
  int period = 0;
  std::vector<std::pair<TimePoint, bool>> results;  // of this closed period: when, failed?
  TimePoint opened_at{};
  int openings = 0;
  int probes_out = 0;
  int probes_succeeded = 0;

  void enter(BreakerState to) {
    state = to;
    ++period;
    results.clear();
    probes_out = probes_succeeded = 0;
  }
  void open_at(TimePoint now) {
    ++openings;
    opened_at = now;
    enter(open);
  }
  Duration shortest_pause() const { return openings == 1 ? 5s : 7s; }

  bool acquire(const BreakerOptions& options, TimePoint now) {
    if (state == open && now - opened_at > shortest_pause()) enter(half_open);
    if (state == open) return false;
    if (state == closed) return true;
    if (probes_out == options.half_open_requests) return false;
    ++probes_out;
    return true;
  }

  void record(const BreakerOptions& options, Call call, Outcome outcome, TimePoint now) {
    if (call.period != period) return;
    if (state == half_open) --probes_out;
    if (outcome == Outcome::ignored) return;
    if (state == half_open) {
      record_probe(options, outcome, now);
    } else {
      record_call(options, outcome, now);
    }
  }
  void record_probe(const BreakerOptions& options, Outcome outcome, TimePoint now) {
    if (outcome == Outcome::failure) return open_at(now);
    if (++probes_succeeded < options.half_open_requests) return;
    openings = 0;
    enter(closed);
  }
  void record_call(const BreakerOptions& options, Outcome outcome, TimePoint now) {
    results.emplace_back(now, outcome == Outcome::failure);
    int calls = 0;
    int failures = 0;
    for (const auto& [when, failed] : results) {
      const auto seconds = (now.time_since_epoch() / 1s) - (when.time_since_epoch() / 1s);
      if (seconds >= 10) continue;
      ++calls;
      failures += failed ? 1 : 0;
    }
    if (calls >= options.min_requests && 2 * failures >= calls) open_at(now);
  }
};

// The breaker and the model, side by side.
struct World {
  explicit World(const BreakerOptions& options) : breaker(options) {}

  struct Out {
    Breaker::Permit permit;
    Model::Call call;
  };

  Breaker breaker;
  Model model;
  std::vector<Out> out;  // oldest first
  TimePoint now = start;
  Rng rng{3};
  BreakerState last_seen = closed;

  /// False if the event cannot happen: nobody is out to come back.
  bool can(Event event) const {
    const bool comes_back = event != Event::acquire && event != Event::two_seconds_pass &&
                            event != Event::six_seconds_pass;
    return !comes_back || !out.empty();
  }

  /// What is wrong after the event, or "".
  std::string step(Event event) {
    switch (event) {
      case Event::acquire:
        return acquire();
      case Event::oldest_succeeds:
        return come_back(out.begin(), Outcome::success);
      case Event::oldest_fails:
        return come_back(out.begin(), Outcome::failure);
      case Event::oldest_ignored:
        return come_back(out.begin(), Outcome::ignored);
      case Event::newest_fails:
        return come_back(out.end() - 1, Outcome::failure);
      case Event::two_seconds_pass:
        now += 2s;
        break;
      case Event::six_seconds_pass:
        now += 6s;
        break;
    }
    return compare();
  }

  std::string acquire() {
    const bool expected = model.acquire(breaker.options(), now);
    const auto permit = breaker.acquire(now);
    if (permit.has_value() != expected) return "admitted otherwise than the model";
    if (permit) {
      out.push_back({*permit, {model.period}});
      return compare();
    }
    const Duration wait = permit.error().retry_after;
    if (wait <= 0s) return "a wait that is over";
    if (model.state == open) {
      const Duration shortest = model.opened_at + model.shortest_pause() - now;
      const Duration extra = model.shortest_pause() / 10;
      if (wait < shortest || wait > shortest + extra) return "a wrong wait";
    }
    return compare();
  }

  std::string come_back(std::vector<Out>::iterator which, Outcome outcome) {
    const Out back = *which;
    out.erase(which);
    model.record(breaker.options(), back.call, outcome, now);
    breaker.record(back.permit, outcome, 0ms, now, rng);
    return compare();
  }

  std::string compare() {
    if (breaker.state() != model.state) return "another state than the model";
    const auto moved = breaker.take_transition();
    if (moved.has_value() != (last_seen != model.state)) return "a transition too few or too many";
    if (moved && (moved->from != last_seen || moved->to != model.state))
      return "a wrong transition";
    if (breaker.take_transition()) return "two transitions in one step";
    last_seen = model.state;
    const auto probes = std::ranges::count_if(out, [this](const Out& one) {
      return model.state == half_open && one.call.period == model.period;
    });
    if (probes > breaker.options().half_open_requests) return "too many probes";
    return "";
  }
};

struct Coverage {
  int sequences = 0;
  int closings = 0;
  int reopenings = 0;
};

void walk(const World& world, int events_left, std::string& path, Coverage& coverage) {
  if (events_left == 0) return;
  for (std::size_t i = 0; i < all_events.size(); ++i) {
    if (!world.can(all_events[i])) continue;
    World next = world;
    path.push_back(event_letters[i]);
    const std::string wrong = next.step(all_events[i]);
    if (!wrong.empty()) FAIL(wrong << " after " << path);
    ++coverage.sequences;
    if (world.model.state == half_open && next.model.state == closed) ++coverage.closings;
    if (world.model.state == half_open && next.model.state == open) ++coverage.reopenings;
    walk(next, events_left - 1, path, coverage);
    path.pop_back();
  }
}

}  // namespace

TEST_CASE("every short sequence of events goes as a naive model says") {
  struct Row {
    int min_requests, half_open_requests, length;
  };
  for (const Row& row : {Row{1, 1, 8}, Row{1, 2, 9}, Row{2, 1, 9}}) {
    CAPTURE(row.min_requests);
    CAPTURE(row.half_open_requests);
    Coverage coverage;
    std::string path;
    walk(World(model_options(row.min_requests, row.half_open_requests)), row.length, path,
         coverage);
    CHECK(coverage.sequences > 10000);
    CHECK(coverage.closings > 0);
    CHECK(coverage.reopenings > 0);
  }
}

TEST_CASE("long random walks go as the model says, too") {
  Rng rng(9);
  for (int walk_number = 0; walk_number < 200; ++walk_number) {
    World world(model_options(3, 2));
    std::string path;
    for (int i = 0; i < 500; ++i) {
      const std::size_t event = rng.below(all_events.size());
      if (!world.can(all_events[event])) continue;
      path.push_back(event_letters[event]);
      const std::string wrong = world.step(all_events[event]);
      if (!wrong.empty()) FAIL(wrong << " after " << path);
    }
  }
}
