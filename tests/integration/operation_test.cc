// Running it: the admin listener, metrics, the access log, reloads, drains.
#include <unistd.h>

#include <atomic>
#include <deque>
#include <fstream>
#include <iterator>

#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

Setup simple(const ScriptedUpstream& app) {
  return {.endpoints = {app.url()}};
}

std::string listener(const std::string& name, const std::string& address) {
  return "[[listener]]\nname = \"" + name + "\"\nlisten = \"" + address + "\"\n";
}

std::string free_address() {
  return "127.0.0.1:" + std::to_string(free_port());
}

bool refuses(const std::string& address) {
  try {
    RawClient probe(address);
    return false;
  } catch (const WireError&) {
    return true;
  }
}

/// Clients that never stop asking, each on its own connection; counts what went wrong.
class SteadyLoad {
 public:
  SteadyLoad(const Holdfast& holdfast, int clients) {
    for (int index = 0; index < clients; ++index) {
      threads_.emplace_back([this, address = holdfast.address()] { ask(address); });
    }
  }
  ~SteadyLoad() { stop(); }

  void stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  std::size_t good() const { return good_; }
  std::size_t bad() const { return bad_; }

 private:
  void ask(const std::string& address) {
    RawClient client(address);
    while (!stopping_) {
      const Response response = client.get("/");
      ++(response.complete && response.status == 200 ? good_ : bad_);
      if (!response.complete) return;
    }
  }

  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> good_{0};
  std::atomic<std::size_t> bad_{0};
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_SUITE("admin") {
  TEST_CASE("every path answers, unknown ones are 404, other methods 405") {
    ScriptedUpstream app(reply(200));
    const Holdfast holdfast(simple(app));
    for (const std::string path :
         {"/healthz", "/readyz", "/metrics", "/config", "/routes", "/upstreams"}) {
      CAPTURE(path);
      CHECK(holdfast.admin(path).status == 200);
      CHECK(holdfast.admin(path, {}, "POST").status == 405);
    }
    CHECK(holdfast.admin("/none").status == 404);
    CHECK(holdfast.admin("/metrics").headers.get("Content-Type").starts_with("text/plain"));
    for (const std::string path : {"/config", "/routes", "/upstreams"}) {
      CHECK(nlohmann::json::accept(holdfast.admin(path).body));
    }
    CHECK(holdfast.admin("/routes").body.find("\"main\"") != std::string::npos);
    CHECK(holdfast.admin("/upstreams").body.find(app.url()) != std::string::npos);
  }

  TEST_CASE("connections that ask nothing keep nobody out") {
    const Holdfast holdfast("[[route]]\nrespond = {}\n");
    std::deque<RawClient> idle;
    for (int i = 0; i < 200; ++i) {
      idle.emplace_back(holdfast.admin_address());
      if (i % 20 == 0) CHECK(holdfast.admin("/readyz").status == 200);
    }
    CHECK(holdfast.admin("/readyz").status == 200);
  }

  TEST_CASE("a name in Host that is not allowed gets 403") {
    const Holdfast holdfast("[admin]\nlisten = \"" + free_address() +
                            "\"\nhosts = [\"ops.example\"]\n[[route]]\nrespond = {}\n");
    for (const std::string host : {"127.0.0.1", "127.0.0.1:8471", "localhost", "localhost:1",
                                   "[::1]:8471", "10.1.2.3", "ops.example", "OPS.example:99"}) {
      CAPTURE(host);
      CHECK(holdfast.admin("/metrics", {{"Host", host}}).status == 200);
    }
    for (const std::string host :
         {"evil.example", "localhost.evil", "ops.example.evil", "127.0.0.1.evil"}) {
      CAPTURE(host);
      CHECK(holdfast.admin("/metrics", {{"Host", host}}).status == 403);
    }
  }

  TEST_CASE("/config shows the effective values and no secret") {
    ScriptedUpstream app(reply(200));
    Setup setup = simple(app);
    setup.route =
        "rewrite = { set_headers = { \"Authorization\" = \"Bearer ${TOKEN}\", "
        "\"Cookie\" = \"c00kie\" } }\ntimeout = { total = \"7s\" }";
    const Holdfast holdfast(setup, {.environment = {{"TOKEN", "s3cret"}}});
    const std::string config = holdfast.admin("/config").body;
    CHECK(config.find("s3cret") == std::string::npos);
    CHECK(config.find("c00kie") == std::string::npos);
    CHECK(config.find("7s") != std::string::npos);
    CHECK(config.find("min_requests") != std::string::npos);
    CHECK(holdfast.get("/").status == 200);
    CHECK(app.last_request().headers.get("Authorization") == "Bearer s3cret");
  }

  TEST_CASE("it may be off") {
    const std::string address = free_address();
    Holdfast holdfast(
        "[admin]\nlisten = \"off\"\n" + listener("main", address) + "[[route]]\nrespond = {}\n",
        {.wait_until_ready = false});
    CHECK(eventually([&] { return !refuses(address); }));
    CHECK(fetch(address, "/").status == 200);
  }
}

TEST_SUITE("metrics") {
  TEST_CASE("every family of the contract is there, with its labels and its type") {
    ScriptedUpstream app(in_turn({reply(503), reply(200), send_and_reset("")}));
    Setup setup = simple(app);
    setup.route = "retry = { attempts = 2 }\n[[route.fallback]]\nbody = \"\"\n";
    const Holdfast holdfast(setup);
    holdfast.get("/");
    holdfast.post("/", "x");
    // A request is counted when it is over: a moment after its client has the answer.
    REQUIRE(
        holdfast.wait_metric("holdfast_request_duration_seconds_count", {{"route", "main"}}, 2));
    const Metrics metrics = holdfast.metrics();
    const std::pair<const char*, const char*> expected[] = {
        {"holdfast_requests_total{method,route,status}", "counter"},
        {"holdfast_request_duration_seconds{method,route}", "histogram"},
        {"http_client_requests_total{host,method,status}", "counter"},
        {"http_client_request_duration_seconds{host,method,status}", "histogram"},
        {"holdfast_retries_total{reason,route}", "counter"},
        {"holdfast_breaker_state{state,upstream}", "gauge"},
        {"holdfast_breaker_transitions_total{from,to,upstream}", "counter"},
        {"holdfast_breaker_rejected_total{upstream}", "counter"},
        {"holdfast_fallbacks_total{reason,route}", "counter"},
        {"holdfast_upstream_connections{state,upstream}", "gauge"},
        {"holdfast_upstream_endpoints{state,upstream}", "gauge"},
        {"holdfast_config_last_reload_successful{}", "gauge"},
        {"holdfast_config_last_reload_success_timestamp_seconds{}", "gauge"},
        {"holdfast_config_generation{}", "gauge"},
        {"holdfast_log_dropped_total{}", "counter"},
        {"holdfast_dropped_headers_total{}", "counter"},
    };
    const auto families = metrics.families();
    for (const auto& [family, type] : expected) {
      CAPTURE(family);
      CHECK(families.count(family) == 1);
      const std::string name(family);
      CHECK(metrics.type(name.substr(0, name.find('{'))) == type);
    }
    CHECK(metrics.has("holdfast_build_info"));
    for (const std::string name : {"process_cpu_seconds_total", "process_resident_memory_bytes",
                                   "process_open_fds", "process_start_time_seconds"}) {
      CAPTURE(name);
      CHECK(metrics.value(name) > 0);
    }
    CHECK(metrics.value("holdfast_retries_denied_total", {{"reason", "method"}}) == 1);
    CHECK(metrics.value("holdfast_upstream_endpoints", {{"state", "healthy"}}) == 1);
    CHECK(metrics.value("holdfast_config_last_reload_successful") == 1);
  }

  TEST_CASE("no label takes a value from a client") {
    ScriptedUpstream app(reply(200));
    const Holdfast holdfast(simple(app));
    fetch(holdfast.address(), "/", {}, "BREW");
    fetch(holdfast.address(), "/", {}, "PROPFIND");
    CHECK(holdfast.wait_metric("holdfast_requests_total", {{"method", "OTHER"}}, 2));
    CHECK(holdfast.metrics().label_values("method").count("BREW") == 0);
  }
}

TEST_SUITE("access log") {
  TEST_CASE("a line has every member, and no secret") {
    ScriptedUpstream app(reply(200, "hello"));
    const Holdfast holdfast(simple(app));
    RawClient client = holdfast.client();
    client.request(
        "PUT", "/path?token=s3cret",
        {{"Authorization", "Bearer s3cret"}, {"Cookie", "s3cret"}, {"X-Request-Id", "my-request"}},
        "body");
    const auto line = holdfast.wait_access_log(1);
    for (const std::string member :
         {"time", "route", "method", "path", "status", "duration_ms", "upstream", "endpoint",
          "attempts", "error", "breaker", "idempotency", "idempotency_id", "fallback", "bytes_in",
          "bytes_out", "request_id", "trace_id", "client"}) {
      CAPTURE(member);
      CHECK(line.contains(member));
    }
    CHECK(line.dump().find("s3cret") == std::string::npos);
    CHECK(line["route"] == "main");
    CHECK(line["method"] == "PUT");
    CHECK(line["path"] == "/path");
    CHECK(line["status"] == 200);
    CHECK(line["upstream"] == "app");
    CHECK(line["endpoint"].get<std::string>().find(app.address()) != std::string::npos);
    CHECK(line["attempts"] == 1);
    CHECK(line["error"].is_null());
    CHECK(line["breaker"] == "closed");
    CHECK(line["request_id"] == "my-request");
    CHECK(line["bytes_in"].get<int>() >= 4);
    CHECK(line["bytes_out"].get<int>() >= 5);
    CHECK(line["duration_ms"].get<double>() > 0);
    CHECK(line["client"].get<std::string>().starts_with("127.0.0.1"));
    CHECK(matches(line["time"].get<std::string>(), "^20\\d\\d-\\d\\d-\\d\\dT.*Z$"));
  }

  TEST_CASE("its lines are JSON, whatever the operational log's format is") {
    ScriptedUpstream app(reply(200));
    const Holdfast holdfast("[log]\nformat = \"text\"\n" + simple(app).text());
    holdfast.get("/path");
    CHECK(holdfast.wait_access_log(1)["path"] == "/path");
    CHECK(holdfast.wait_for_log(" info ready "));
  }

  TEST_CASE("every answered request has one line, refused ones too") {
    ScriptedUpstream app(reply(200));
    Setup setup = simple(app);
    setup.route = "match = { path = \"/x\" }";
    const Holdfast holdfast(setup);
    holdfast.get("/x");
    holdfast.get("/none");
    fetch(holdfast.address(), "/", {{"Host", "a b"}});
    holdfast.wait_access_log(3);
    std::vector<int> statuses;
    for (const auto& line : holdfast.access_log()) statuses.push_back(line["status"]);
    CHECK(statuses == std::vector{200, 404, 400});
  }

  TEST_CASE("`errors` leaves out what went well, `off` everything") {
    ScriptedUpstream app(in_turn({reply(200), reply(500), reply(200)}));
    Setup setup = simple(app);
    for (const std::string access : {"errors", "off"}) {
      app.answer(in_turn({reply(200), reply(500), reply(200)}));
      setup.more = "[log]\naccess = \"" + std::string(access) + "\"\n";
      Holdfast holdfast(setup);
      for (int request = 0; request < 3; ++request) holdfast.get("/");
      CHECK(holdfast.stop() == 0);
      const auto lines = holdfast.access_log();
      CHECK(lines.size() == (std::string(access) == "errors" ? 1 : 0));
      for (const auto& line : lines) CHECK(line["status"] == 500);
    }
  }

  TEST_CASE("a log that nobody reads blocks no request and is counted") {
    ScriptedUpstream app(reply(200));
    const Holdfast holdfast(simple(app), {.standard_output = Output::unread});
    RawClient client = holdfast.client();
    const std::string target = "/" + std::string(8000, 'a');
    for (int request = 0; request < 400; ++request) REQUIRE(client.get(target).status == 200);
    CHECK(holdfast.metric("holdfast_log_dropped_total") > 0);
  }
}

TEST_SUITE("reload") {
  TEST_CASE("requests in flight finish with what they began with, connections stay") {
    Gate gate;
    ScriptedUpstream app([&](Exchange& exchange) {
      if (exchange.request.target == "/slow") exchange.hold(gate);
      exchange.respond(200, exchange.request.headers.get("X-Version"));
    });
    Setup setup = simple(app);
    setup.route = "rewrite = { set_headers = { \"X-Version\" = \"1\" } }";
    Holdfast holdfast(setup);
    RawClient idle = holdfast.client();
    RawClient busy = holdfast.client();
    CHECK(idle.get("/").body == "1");
    busy.send(request_text("GET", "/slow"));
    REQUIRE(app.wait_for_requests(2));
    setup.route = "rewrite = { set_headers = { \"X-Version\" = \"2\" } }";
    CHECK(holdfast.reload(setup));
    gate.open();
    const Response slow = busy.read_response();
    CHECK(slow.body == "1");
    CHECK_FALSE(slow.headers.has("Connection"));
    CHECK(busy.get("/").body == "2");
    CHECK(idle.get("/").body == "2");
    CHECK(app.connection_count() == 1);
    CHECK(holdfast.generation() == 2);
  }

  TEST_CASE("listeners come and go; connections of one that goes stay") {
    ScriptedUpstream app(reply(200));
    const std::string first = free_address();
    const std::string second = free_address();
    const std::string rest = simple(app).text();
    Holdfast holdfast(listener("one", first) + rest);
    RawClient client = holdfast.client();
    CHECK(client.get("/").status == 200);
    CHECK(holdfast.reload(listener("one", first) + listener("two", second) + rest));
    CHECK(fetch(second, "/").status == 200);
    CHECK(holdfast.reload(listener("two", second) + rest));
    CHECK(eventually([&] { return refuses(first); }));
    CHECK(fetch(second, "/").status == 200);
    CHECK(client.get("/").status == 200);
  }

  TEST_CASE("a connection follows its listener to another name") {
    const std::string address = free_address();
    const auto only_for = [&](const std::string& name) {
      return listener(name, address) + "[[route]]\nmatch = { listener = \"" + name +
             "\" }\nrespond = { status = 200 }\n";
    };
    Holdfast holdfast(only_for("old"));
    RawClient client = holdfast.client();
    CHECK(client.get("/").status == 200);
    CHECK(holdfast.reload(only_for("new")));
    CHECK(client.get("/").status == 200);
  }

  TEST_CASE("a file with an error keeps the old configuration whole, and says where") {
    ScriptedUpstream app(reply(200));
    Holdfast holdfast(simple(app));
    CHECK_FALSE(holdfast.reload("[[route]]\nupstream = \"nowhere\"\n"));
    const auto line = holdfast.wait_for_log("holdfast.toml:");
    REQUIRE(line);
    CHECK(line->find("nowhere") != std::string::npos);
    CHECK(holdfast.get("/").status == 200);
    CHECK(holdfast.metric("holdfast_config_last_reload_successful") == 0);
    CHECK(holdfast.generation() == 1);
    CHECK(holdfast.reload(simple(app)));
    CHECK(holdfast.metric("holdfast_config_last_reload_successful") == 1);
  }

  TEST_CASE("a listener that cannot be bound keeps the old configuration whole") {
    ScriptedUpstream app(reply(200));
    const ListeningSocket taken("127.0.0.1:0");
    const std::string first = free_address();
    Holdfast holdfast(listener("one", first) + simple(app).text());
    CHECK_FALSE(holdfast.reload(listener("two", taken.address()) + simple(app).text()));
    CHECK(fetch(first, "/").status == 200);
  }

  TEST_CASE("a change of workers or admin is refused with its name") {
    ScriptedUpstream app(reply(200));
    Setup setup = simple(app);
    Setup more_workers = setup;
    more_workers.server = "workers = 2";
    Holdfast holdfast(setup);
    CHECK_FALSE(holdfast.reload(more_workers));
    CHECK(holdfast.wait_for_log("server.workers"));
    CHECK(holdfast.reload(setup));
    CHECK_FALSE(holdfast.reload("[admin]\nlisten = \"" + free_address() + "\"\n" + setup.text()));
    CHECK(holdfast.wait_for_log("admin"));
    CHECK(holdfast.get("/").status == 200);
  }

  TEST_CASE("pools stay, endpoints come and go") {
    ScriptedUpstream old_app(reply(200, "old"));
    ScriptedUpstream new_app(reply(200, "new"));
    Holdfast holdfast(simple(old_app));
    CHECK(holdfast.get("/").body == "old");
    Setup setup = simple(old_app);
    setup.route = "timeout = { total = \"9s\" }";
    CHECK(holdfast.reload(setup));
    CHECK(holdfast.get("/").body == "old");
    CHECK(old_app.connection_count() == 1);
    CHECK(holdfast.reload(simple(new_app)));
    CHECK(holdfast.get("/").body == "new");
    CHECK(eventually([&] { return old_app.open_connections() == 0; }));
  }

  TEST_CASE("no request fails under steady load through twenty reloads") {
    ScriptedUpstream app(reply(200));
    Setup setup = simple(app);
    setup.server = "workers = 2";
    setup.more = "[log]\naccess = \"off\"\n";
    Holdfast holdfast(setup);
    SteadyLoad load(holdfast, 4);
    for (int reload = 0; reload < 20; ++reload) {
      setup.route = "timeout = { total = \"" + std::to_string(reload + 10) + "s\" }";
      const std::size_t good = load.good();
      REQUIRE(holdfast.reload(setup));
      CHECK(eventually([&] { return load.good() > good + 4; }));
    }
    load.stop();
    CHECK(load.bad() == 0);
    CHECK(holdfast.generation() == 21);
  }

  TEST_CASE("a storm of signals ends with the last file") {
    ScriptedUpstream app(reply(200));
    Setup setup = simple(app);
    Holdfast holdfast(setup);
    for (int signal = 0; signal < 100; ++signal) {
      holdfast.write_config(signal % 2 == 0 ? Setup{.endpoints = {"nonsense"}} : setup);
      holdfast.signal(SIGHUP);
    }
    holdfast.write_config("[[route]]\nrespond = { body = \"last\" }\n");
    holdfast.signal(SIGHUP);
    CHECK(eventually([&] { return holdfast.get("/").body == "last"; }));
  }
}

TEST_SUITE("drain") {
  TEST_CASE("what is in flight finishes, what is idle closes, and the code is 0") {
    for (const int number : {SIGTERM, SIGINT}) {
      Gate gate;
      ScriptedUpstream app(in_turn({reply(200), after(gate, reply(200, "finished"))}));
      Holdfast holdfast(simple(app));
      RawClient idle = holdfast.client();
      RawClient busy = holdfast.client();
      CHECK(idle.get("/").status == 200);
      busy.send(request_text("GET", "/"));
      REQUIRE(app.wait_for_requests(2));
      holdfast.signal(number);
      CHECK(idle.wait_for_close() == Fault::end);
      CHECK(eventually([&] { return refuses(holdfast.address()); }));
      CHECK(holdfast.admin("/readyz").status == 503);
      CHECK(holdfast.admin("/healthz").status == 200);
      gate.open();
      const Response response = busy.read_response();
      CHECK(response.body == "finished");
      CHECK(response.headers.get("Connection") == "close");
      CHECK(holdfast.process().wait_for_exit() == 0);
    }
  }

  TEST_CASE("a second signal ends it at once") {
    ScriptedUpstream app(never_answer());
    Holdfast holdfast(simple(app));
    RawClient busy = holdfast.client();
    busy.send(request_text("GET", "/"));
    REQUIRE(app.wait_for_requests(1));
    const Stopwatch since;
    holdfast.signal(SIGTERM);
    CHECK(eventually([&] { return refuses(holdfast.address()); }));
    holdfast.signal(SIGTERM);
    CHECK(holdfast.process().wait_for_exit().has_value());
    CHECK(since.elapsed() < 10s);
    holdfast.ended_as_expected();
  }

  TEST_CASE("a request that was pipelined before the drain is answered") {
    Gate gate;
    ScriptedUpstream app(in_turn({after(gate, reply(200, "first")), reply(200, "second")}));
    Holdfast holdfast(simple(app));
    RawClient busy = holdfast.client();
    busy.send(request_text("GET", "/1") + request_text("GET", "/2"));
    REQUIRE(app.wait_for_requests(1));
    holdfast.signal(SIGTERM);
    CHECK(eventually([&] { return refuses(holdfast.address()); }));
    gate.open();
    CHECK(busy.read_response().body == "first");
    const Response last = busy.read_response();
    CHECK(last.body == "second");
    CHECK(last.headers.get("Connection") == "close");
    CHECK(holdfast.process().wait_for_exit() == 0);
  }

  TEST_CASE("without a drain_timeout what is in flight has all its time") {
    Gate gate;
    ScriptedUpstream app(after(gate, reply(200, "finished")));
    Setup setup = simple(app);
    setup.server = "drain_timeout = \"off\"";
    Holdfast holdfast(setup);
    RawClient busy = holdfast.client();
    busy.send(request_text("GET", "/"));
    REQUIRE(app.wait_for_requests(1));
    holdfast.signal(SIGTERM);
    CHECK(eventually([&] { return refuses(holdfast.address()); }));
    gate.open();
    CHECK(busy.read_response().body == "finished");
    CHECK(holdfast.process().wait_for_exit() == 0);
  }

  TEST_CASE("drain_timeout cuts what has not finished") {
    ScriptedUpstream app(never_answer());
    Setup setup = simple(app);
    setup.server = "drain_timeout = \"300ms\"";
    Holdfast holdfast(setup);
    RawClient busy = holdfast.client();
    busy.send(request_text("GET", "/"));
    REQUIRE(app.wait_for_requests(1));
    const Stopwatch since;
    CHECK(holdfast.stop() == 0);
    CHECK(since.elapsed() >= 299ms);
    CHECK(since.elapsed() < 5s);
    CHECK_FALSE(busy.read_response().complete);
  }

  TEST_CASE("an answer that only its connection's end would end is not ended by the cut") {
    Gate gate;
    ScriptedUpstream app([&](Exchange& exchange) {
      exchange.send("HTTP/1.1 200 OK\r\n\r\npart");
      exchange.hold(gate);
    });
    Setup setup = simple(app);
    setup.server = "drain_timeout = \"100ms\"";
    Holdfast holdfast(setup);
    RawClient busy = holdfast.client();
    busy.send("GET / HTTP/1.0\r\n\r\n");
    CHECK(busy.read_head().status == 200);
    CHECK(busy.reader().read_exactly(4) == "part");
    CHECK(holdfast.stop() == 0);
    CHECK(busy.wait_for_close() == Fault::reset);
  }

  TEST_CASE("a listener on a unix socket leaves no file behind") {
    const TemporaryFolder folder;
    const std::string path = folder.path() + "/l";
    Holdfast holdfast(listener("main", "unix:" + path) + "[[route]]\nrespond = {}\n");
    CHECK(holdfast.get("/").status == 200);
    CHECK(holdfast.stop() == 0);
    CHECK(::access(path.c_str(), F_OK) != 0);
  }
}

TEST_SUITE("rights") {
  TEST_CASE("the process gives up what it has no use for") {
    ScriptedUpstream app(reply(200, "ok"));
    Holdfast holdfast(simple(app));
    const std::string proc = "/proc/" + std::to_string(holdfast.process().pid());
    CHECK(file_text(proc + "/status").find("NoNewPrivs:\t1\n") != std::string::npos);
    const std::string limits = file_text(proc + "/limits");
    const std::string core = limits.substr(limits.find("Max core file size"), 40);
    CHECK(core.find(" 0 ") != std::string::npos);
  }
}
