// What is done to the process itself under load: no descriptors, a pause, a storm of signals, its
// sudden end.
#include <sys/resource.h>

#include <list>

#include "tests/fault/load.h"

using namespace holdfast::testing;

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

Setup keyed_setup(const CountingApp& app, const std::string& idempotency = "") {
  Setup setup{.endpoints = {app.url()}};
  setup.route = "[route.idempotency]\nenabled = true\n" + idempotency;
  setup.more = "[store]\nkind = \"local\"\ntimeout = \"5s\"\n";
  return setup;
}

void limit_descriptors(Holdfast& holdfast, rlim_t count) {
  rlimit limit{};
  REQUIRE(::prlimit(holdfast.process().pid(), RLIMIT_NOFILE, nullptr, &limit) == 0);
  limit.rlim_cur = count;
  REQUIRE(::prlimit(holdfast.process().pid(), RLIMIT_NOFILE, &limit, nullptr) == 0);
}

}  // namespace

TEST_CASE("without descriptors accepting pauses, and service is back when there are some") {
  if (built_with_sanitizers) return;  // UBSan looks at memory through a pipe, and dies without one
  CountingApp app;
  Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient early = holdfast.client();
  CHECK(early.get("/early").status == 201);
  const std::size_t before = holdfast.process().open_descriptors();
  limit_descriptors(holdfast, 64);
  {
    std::list<RawClient> crowd;
    for (int n = 0; n < 150; ++n) crowd.emplace_back(holdfast.address());
    CHECK(eventually([&] { return holdfast.process().open_descriptors() >= 63; }));
    CHECK(early.get("/meanwhile").status == 201);  // over the connection to the upstream it has
  }
  CHECK(eventually([&] { return holdfast.process().open_descriptors() <= before + 2; }));
  CHECK(holdfast.get("/later").status == 201);
}

TEST_CASE("a pause longer than a lease runs no key twice") {
  CountingApp app(20ms);
  Holdfast holdfast(keyed_setup(app, "lease = \"300ms\"\nmax_execution = \"2s\"\n"));
  Load load(holdfast.address(), Ask::keyed);
  for (int round = 0; round < 3; ++round) {
    load.let_pass(20);
    holdfast.signal(SIGSTOP);
    std::this_thread::sleep_for(700ms);  // the fault: two leases and more
    holdfast.signal(SIGCONT);
  }
  load.let_pass(20);
  load.stop();
  const Tally tally = load.take();
  CHECK(tally.of("wrong") + tally.of("lost") == 0);
  CHECK(app.run_twice() == 0);
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
}

TEST_CASE("a pause of its own is no failure of the upstream") {
  CountingApp app(100ms);
  Setup setup{.endpoints = {app.url()}};
  setup.route = "timeout = { per_try = \"500ms\", total = \"600ms\", idle = \"600ms\" }\n";
  // One request of the eight may have been just on its way out at each stop: its time has passed.
  constexpr int rounds = 4;
  setup.more = "[upstream.app.breaker]\nconsecutive_failures = 4\n";
  Holdfast holdfast(setup);
  Load load(holdfast.address(), Ask::post, 8);
  for (int round = 0; round < rounds; ++round) {
    load.let_pass(16);
    holdfast.signal(SIGSTOP);
    std::this_thread::sleep_for(800ms);  // longer than every time-out, while answers come in
    holdfast.signal(SIGCONT);
  }
  load.let_pass(16);
  load.stop();
  const Tally tally = load.take();
  CHECK_MESSAGE(tally.of("201") + tally.of("504") == tally.total(), tally.text());
  CHECK_MESSAGE(tally.of("504") <= rounds, tally.text());
  CHECK(holdfast.metric("holdfast_breaker_transitions_total") == 0);
}

TEST_CASE("a thousand reloads with good and bad files lose no request and nothing else") {
  CountingApp app;
  const Setup good{.endpoints = {app.url()}};
  Setup other = good;
  other.route = "timeout = { total = \"9s\" }\n";
  Holdfast holdfast(good);
  Load load(holdfast.address(), Ask::post);
  const std::vector<std::string> files = {good.text(), "[server", other.text(),
                                          good.text() + "[nonsense]\n"};
  std::size_t descriptors = 0;
  std::size_t memory = 0;
  constexpr int signals = 1000;
  for (int n = 0; n < signals; ++n) {
    holdfast.write_config(files[static_cast<std::size_t>(n) % files.size()]);
    holdfast.signal(SIGHUP);
    std::this_thread::sleep_for(2ms);  // or many signals would be one
    if (n == signals / 2) {
      descriptors = holdfast.process().open_descriptors();
      memory = holdfast.process().resident_bytes();
    }
  }
  const double generation = holdfast.generation();
  CHECK(generation > 100);
  // Earlier signals may still be under way: whichever reads the file last reads this one.
  holdfast.write_config(good.text());
  holdfast.signal(SIGHUP);
  CHECK(holdfast.wait_metric("holdfast_config_last_reload_successful", {}, 1));
  load.stop();
  const Tally tally = load.take();
  CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
  CHECK(app.run_twice() == 0);
  MESSAGE(generation << " configurations, " << tally.total() << " requests");
  CHECK(holdfast.process().open_descriptors() <= descriptors + 4);
  if (!built_with_sanitizers) CHECK(holdfast.process().resident_bytes() < memory + 2 * mebibyte);
}

TEST_CASE("killed under keyed load again and again, it forgets nothing that it acknowledged") {
  CountingApp app;
  Holdfast holdfast(keyed_setup(app));
  Load load(holdfast.address(), Ask::keyed);
  for (int round = 0; round < 5; ++round) {
    load.let_pass(50);
    holdfast.ended_as_expected();
    holdfast.signal(SIGKILL);
    holdfast.process().wait_for_exit();
    holdfast.start_again();
    CHECK(load.wait_for("201"));
  }
  load.stop();
  CHECK(load.take().of("wrong") == 0);
  CHECK(app.run_twice() == 0);
  CHECK(load.acknowledged().size() > 250);
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
}
