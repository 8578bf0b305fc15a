// What is done to the process itself under load: no descriptors, no memory, a clock that is set, a
// pause, a storm of signals, its sudden end; and what it is started with, or without.
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>

#include "tests/fault/load.h"
#include "tests/support/redis_server.h"

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

/// Ends by itself: its exit code, and what it said.
CommandResult run_under(const std::vector<std::string>& under, const Setup& setup) {
  Holdfast holdfast(setup, {.wait_until_ready = false, .under = under});
  holdfast.ended_as_expected();
  const int code = holdfast.process().wait_for_exit().value_or(-1);
  return {code, "", holdfast.process().standard_error().text()};
}

}  // namespace

TEST_CASE("started without standard descriptors, or with some that nobody reads, it serves") {
  CountingApp app;
  std::string redirections;
  SUBCASE("closed") {
    redirections = "<&- >&- 2>&-";
  }
  SUBCASE("a device that is full") {
    redirections = ">/dev/full 2>/dev/full";
  }
  SUBCASE("pipes whose readers have gone") {
    redirections = "> >(true) 2> >(true)";
  }
  Holdfast holdfast(keyed_setup(app),
                    {.under = {"/bin/bash", "-c", "exec \"$0\" \"$@\" " + redirections}});
  Load load(holdfast.address(), Ask::keyed);
  load.let_pass(100);
  load.stop();
  const Tally tally = load.take();
  CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
  CHECK(holdfast.stop() == 0);
  holdfast.start_again();
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
}

TEST_CASE("a machine that lends too little is no start, and is named") {
  if (built_with_sanitizers) return;  // they need more than these
  const CountingApp app;
  CommandResult result;
  std::string lack;
  SUBCASE("descriptors") {
    result = run_under({"/usr/bin/prlimit", "--nofile=12:12"}, keyed_setup(app));
    lack = "descriptors may be open";
  }
  SUBCASE("threads, for want of room for their stacks") {
    result = run_under({"/usr/bin/prlimit", "--as=33554432"}, keyed_setup(app));
    lack = "threads are needed";
  }
  CHECK(result.exit_code == 3);
  CHECK_MESSAGE(result.error.find(lack) != result.error.npos, result.error);
}

TEST_CASE("without memory it ends with a word, and forgets nothing that it acknowledged") {
  if (built_with_sanitizers) return;  // they map more than there is
  CountingApp app;
  Setup setup = keyed_setup(app, "max_request_bytes = \"8MiB\"\n");
  Holdfast holdfast(setup);
  Load load(holdfast.address(), Ask::keyed);
  load.let_pass(50);
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = holdfast.process().virtual_bytes() + 2 * mebibyte;
  REQUIRE(::prlimit(holdfast.process().pid(), RLIMIT_AS, &limit, nullptr) == 0);
  const std::string all_but_a_byte(6 * mebibyte - 1, 'x');  // which is waited for
  std::list<RawClient> clients;
  CHECK(eventually([&] {
    if (!holdfast.process().running()) return true;
    try {
      clients.emplace_back(holdfast.address());
      clients.back().send(
          "POST /large HTTP/1.1\r\nHost: a\r\nIdempotency-Key: large\r\n"
          "Authorization: alice\r\nContent-Length: 6291456\r\n\r\n");
      clients.back().send(all_but_a_byte);
    } catch (const WireError&) {
    }
    return false;
  }));
  holdfast.ended_as_expected();
  CHECK(holdfast.process().wait_for_exit() == 128 + SIGABRT);
  CHECK(holdfast.wait_for_log("out of memory"));
  holdfast.start_again();
  load.let_pass(50);
  load.stop();
  CHECK(app.run_twice() == 0);
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
}

TEST_CASE(
    "as any user, from a read-only file system with one writable folder, it serves and keeps") {
  // "$0" is the binary, the last argument the file in the only folder that can be written.
  const std::string confine =
      "for file; do :; done; folder=${file%/*}; chown -R 65534:65534 \"$folder\" && "
      "mount --bind \"$folder\" \"$folder\" && mount -o remount,ro,bind / && "
      "exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all -- \"$0\" "
      "\"$@\"";
  if (run_command({"/usr/bin/unshare", "--mount", "/bin/mount", "-o", "remount,ro,bind", "/"})
          .exit_code != 0) {
    MESSAGE("skipped: no mount namespaces may be made here");
    return;
  }
  CountingApp app;
  const RunOptions confined{.under = {"/usr/bin/unshare", "--mount", "/bin/sh", "-c", confine}};
  Holdfast holdfast(keyed_setup(app), confined);
  const std::string proc = "/proc/" + std::to_string(holdfast.process().pid());
  CHECK(file_text(proc + "/status").find("Uid:\t65534\t65534\t65534\t65534") != std::string::npos);
  CHECK(file_text(proc + "/mountinfo").find(" / / ro") != std::string::npos);
  Load load(holdfast.address(), Ask::keyed);
  load.let_pass(50);
  holdfast.ended_as_expected();
  holdfast.signal(SIGKILL);
  holdfast.process().wait_for_exit();
  holdfast.start_again(confined);
  CHECK(load.wait_for("201"));
  load.stop();
  CHECK(app.run_twice() == 0);
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
}

TEST_CASE("a wall clock that is set moves no lease, no lifetime and no answer") {
  if (built_with_sanitizers) return;  // no shim beside one
  const TemporaryFolder clock;
  CountingApp app(5ms);
  const Environment environment = {{"LD_PRELOAD", HOLDFAST_CLOCK_SHIM},
                                   {"CLOCK_SHIM_OFFSET", clock.path() + "/offset"}};
  Holdfast holdfast(keyed_setup(app, "ttl = \"1h\"\nlease = \"1s\"\nmax_execution = \"5s\"\n"),
                    {.environment = environment});
  Load load(holdfast.address(), Ask::keyed);
  load.let_pass(50);
  // An hour and ten days, forth and back; and back to the truth.
  for (const std::string offset : {"3600", "-3600", "864000", "-864000", "0"}) {
    clock.write("offset", offset);
    load.let_pass(50);
  }
  load.stop();
  const Tally tally = load.take();
  CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
  CHECK(tally.slowest < 2s);
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
  CHECK(app.run_twice() == 0);
  // Set back, a restart keeps everything for longer.
  holdfast.stop();
  clock.write("offset", "-864000");
  holdfast.start_again({.environment = environment});
  CHECK(forgotten(holdfast, load.acknowledged()) == 0);
}

TEST_CASE("whatever stands where the configuration was, the old one stays in use") {
  CountingApp app;
  const Setup setup{.endpoints = {app.url()}};
  Holdfast holdfast(setup);
  Load load(holdfast.address(), Ask::post);
  const std::string path = holdfast.config_path();
  const std::vector<std::pair<std::string, std::function<void()>>> replacements = {
      {"nothing", [] {}},
      {"an empty file", [&] { std::ofstream file(path); }},
      {"a folder", [&] { std::filesystem::create_directory(path); }},
      {"a FIFO", [&] { REQUIRE(::mkfifo(path.c_str(), 0600) == 0); }},
      {"a hundred megabytes",
       [&] {
         std::ofstream file(path);
         file.close();
         std::filesystem::resize_file(path, 100 * mebibyte);
       }},
      {"no UTF-8", [&] { std::ofstream(path) << "name = \"\xff\xfe\"\n"; }},
      {"a device", [&] { std::filesystem::create_symlink("/dev/zero", path); }},
      {"a loop of links", [&] { std::filesystem::create_symlink(path, path); }},
      {"another file that is none",
       [&] { std::filesystem::create_symlink("/proc/self/mem", path); }},
  };
  const auto refusals = [&] {
    return std::ranges::count_if(
        holdfast.process().standard_error().lines(), [](const std::string& line) {
          return line.find("configuration refused, the old one stays") != line.npos;
        });
  };
  std::ptrdiff_t refused = 0;
  for (const auto& [name, replace] : replacements) {
    CAPTURE(name);
    std::filesystem::remove_all(path);
    replace();
    holdfast.signal(SIGHUP);
    ++refused;
    CHECK(eventually([&] { return refusals() == refused; }));
    CHECK(holdfast.generation() == 1);
  }
  std::filesystem::remove_all(path);
  CHECK(holdfast.reload(setup));
  load.stop();
  const Tally tally = load.take();
  CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
}

TEST_CASE("signals while it starts are not lost, and do not end it in another way") {
  // A store that does not answer holds up the start.
  RedisServer redis;
  redis.freeze();
  CountingApp app;
  Setup setup{.endpoints = {app.url()}};
  setup.route = "[route.idempotency]\nenabled = true\n";
  setup.more = "[store]\nkind = \"redis\"\ntimeout = \"1s\"\nurl = \"" + redis.url() + "\"\n";
  Holdfast holdfast(setup, {.wait_until_ready = false});
  CHECK(holdfast.wait_for_log("the store cannot be used"));
  SUBCASE("a reload comes after the start") {
    for (int times = 0; times < 3; ++times) holdfast.signal(SIGHUP);
    redis.thaw();
    CHECK(holdfast.wait_for_log("configuration reloaded"));
    CHECK(holdfast.get("/").status == 201);
  }
  SUBCASE("an end is one, and a clean one") {
    CHECK(holdfast.stop() == 0);
  }
}

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
  // Over all configurations: every request has its outcome, and every attempt came to the app.
  CHECK(holdfast.wait_metric("holdfast_requests_total", {}, tally.total()));
  CHECK(holdfast.metric("http_client_requests_total") ==
        static_cast<double>(app.server().request_count()));
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
