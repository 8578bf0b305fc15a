// The soak: mixed load for HOLDFAST_SOAK_MINUTES with faults all the time. Fails if memory or
// descriptors grow, or if a client is told an error that neither the upstream nor the faults made.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "tests/fault/load.h"

using namespace holdfast::testing;

namespace {

/// No fault lasts longer, and nothing waits longer than a fault but for what the machine adds.
constexpr Milliseconds longest_pause{100};
constexpr Milliseconds scheduling{3000};

using Minutes = std::chrono::duration<double, std::ratio<60>>;

Minutes minutes_asked_for() {
  const char* text = std::getenv("HOLDFAST_SOAK_MINUTES");
  return Minutes(text == nullptr ? 60 : std::atof(text));
}

/// What a quarter of the time used, at its median.
struct Quarter {
  std::vector<std::size_t> memory;
  std::vector<std::size_t> descriptors;

  void sample(const ChildProcess& process) {
    memory.push_back(process.resident_bytes());
    descriptors.push_back(process.open_descriptors());
  }
  static std::size_t median(std::vector<std::size_t> values) {
    std::ranges::sort(values);
    return values.empty() ? 0 : values[values.size() / 2];
  }
};

Setup setup_for(const CountingApp& app) {
  Setup setup{.endpoints = {app.url()}};
  setup.server = "workers = 2";
  // Short, so that what is kept for a time is at its size before the first quarter is over.
  setup.route =
      "[route.idempotency]\nenabled = true\nttl = \"10s\"\nlease = \"1s\"\n"
      "max_execution = \"5s\"\n[route.retry]\nattempts = 3\n";
  setup.more =
      "[store]\nkind = \"local\"\ntimeout = \"5s\"\n"
      "[upstream.app.breaker]\nopen_for = \"200ms\"\nopen_max = \"200ms\"\n";
  return setup;
}

/// One of the faults, made and mended.
void fault(int round, CountingApp& app, Holdfast& holdfast) {
  switch (round % 4) {
    case 0:
      app.server().close_connections();
      break;
    case 1:
      app.server().refuse();
      std::this_thread::sleep_for(longest_pause);
      app.server().accept_again();
      break;
    case 2:
      holdfast.signal(SIGHUP);
      break;
    default:
      holdfast.signal(SIGSTOP);
      std::this_thread::sleep_for(longest_pause);
      holdfast.signal(SIGCONT);
  }
}

}  // namespace

TEST_CASE("mixed load with faults: memory and descriptors stay, and no error is holdfast's own") {
  CountingApp app;
  Holdfast holdfast(setup_for(app), {.standard_output = Output::unread});
  std::array<Quarter, 4> quarters;
  const auto length = std::chrono::duration_cast<SteadyClock::duration>(minutes_asked_for());
  const auto start = SteadyClock::now();
  Tally told;
  {
    Load gets(holdfast.address(), Ask::get, 3, 20ms);
    Load posts(holdfast.address(), Ask::post, 2, 20ms);
    Load keyed(holdfast.address(), Ask::keyed, 3, 20ms);
    for (int round = 0; SteadyClock::now() - start < length; ++round) {
      fault(round, app, holdfast);
      std::this_thread::sleep_for(400ms);  // undisturbed load between two faults
      const auto quarter = static_cast<std::size_t>(4 * (SteadyClock::now() - start) / length);
      quarters[std::min<std::size_t>(quarter, 3)].sample(holdfast.process());
    }
    for (Load* load : {&gets, &posts, &keyed}) {
      load->stop();
      const Tally tally = load->take();
      for (const auto& [outcome, count] : tally.outcomes) told.outcomes[outcome] += count;
      told.slowest = std::max(told.slowest, tally.slowest);
    }
  }
  for (const Quarter& quarter : quarters) {
    MESSAGE("RSS " << Quarter::median(quarter.memory) / 1024 << " KiB, "
                   << Quarter::median(quarter.descriptors) << " descriptors");
  }
  MESSAGE(told.text() << "; the slowest took " << told.slowest.count() << " ms");
  CHECK(told.of("wrong") == 0);
  CHECK(told.of("lost") == 0);
  CHECK(told.of("500") == 0);
  CHECK(told.of("504") == 0);
  CHECK(app.run_twice() == 0);
  CHECK(told.slowest < longest_pause + scheduling);
  // 502 and 503 are the upstream's refusals and the breaker's answer to them.
  CHECK(told.of("201") > told.total() * 8 / 10);
  const auto second = static_cast<double>(Quarter::median(quarters[1].memory));
  CHECK(static_cast<double>(Quarter::median(quarters[3].memory)) <= 1.02 * second);
  CHECK(Quarter::median(quarters[3].descriptors) <= Quarter::median(quarters[1].descriptors) + 2);
}
