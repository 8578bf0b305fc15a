// Host names of upstreams, against a DNS server of the test's own: the whole program moves into
// network and mount namespaces in which that one is asked.
#include <deque>
#include <set>

#include "tests/support/keyed_setup.h"
#include "tests/support/name_server.h"
#include "tests/support/private_machine.h"
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

constexpr std::string_view resolv_conf =
    "nameserver 127.0.0.53\nsearch svc.test\noptions timeout:30 attempts:1\n";
constexpr std::string_view hosts = "127.0.0.1 localhost\n::1 localhost\n";

PrivateMachine& machine() {
  static PrivateMachine entered;
  return entered;
}

/// True where the kernel lets no test have names of its own.
bool no_machine() {
  const std::string& why_not = machine().why_not();
  if (!why_not.empty()) MESSAGE("skipped: " << why_not);
  machine().resolv_conf(resolv_conf);
  machine().hosts(hosts);
  return !why_not.empty();
}

std::string port_of(const ScriptedUpstream& app) {
  return app.address().substr(app.address().rfind(':') + 1);
}

std::string at(const std::string& name, const ScriptedUpstream& app) {
  return "http://" + name + ":" + port_of(app);
}

std::string route_to(const std::string& upstream) {
  return "[[route]]\nname = \"" + upstream + "\"\nmatch = { path_prefix = \"/" + upstream +
         "\" }\nupstream = \"" + upstream + "\"\nretry = { attempts = 1 }\n";
}

std::string upstream(const std::string& name, const std::string& url,
                     const std::string& more = "") {
  return "[upstream." + name + "]\nendpoints = [\"" + url + "\"]\n" + more + "\n" + route_to(name);
}

}  // namespace

TEST_CASE("a name is looked up in /etc/hosts, in the DNS, and with the search domains") {
  if (no_machine()) return;
  machine().hosts(std::string(hosts) + "127.0.0.1 in-hosts.test\n");
  NameServer names;
  names.answer("in-dns.test", {"127.0.0.1"});
  names.answer("short.svc.test", {"127.0.0.1"});
  const ScriptedUpstream app(reply(200, "found"));
  const Holdfast holdfast(upstream("hosts", at("in-hosts.test", app)) +
                          upstream("dns", at("in-dns.test", app)) +
                          upstream("short", at("short", app)));
  CHECK(holdfast.get("/hosts").body == "found");
  CHECK(holdfast.get("/dns").body == "found");
  CHECK(holdfast.get("/short").body == "found");
  CHECK(names.questions("in-hosts.test") == 0);
  CHECK(names.questions("short.svc.test") > 0);
}

TEST_CASE("a name that does not exist, or a server that fails, is a dns_error") {
  if (no_machine()) return;
  NameServer names;
  names.server_failure("fails.test");
  const ScriptedUpstream app(reply(200));
  const Holdfast holdfast(upstream("missing", at("missing.test", app)) +
                          upstream("fails", at("fails.test", app)));
  check_problem(holdfast.get("/missing"), 502, "dns-error", "dns_error");
  check_problem(holdfast.get("/fails"), 502, "dns-error", "dns_error");
  CHECK(holdfast.metric("http_client_requests_total",
                        {{"host", "missing"}, {"status", "dns_error"}}) == 1);
}

TEST_CASE("a name server that hangs: a dns_timeout in time, and nothing else is slowed") {
  if (no_machine()) return;
  NameServer names;
  ScriptedUpstream app(reply(200, "found"));
  // Patience for a busy machine's disk; what waits for a look-up here waits for ever.
  std::string config = "[store]\nkind = \"local\"\ntimeout = \"5s\"\n";
  // More of them than libuv has threads, which write the store and read the configuration.
  for (int i = 0; i < 6; ++i) {
    const std::string name = "hangs" + std::to_string(i);
    names.hang(name + ".test");
    config += upstream(name, at(name + ".test", app), "timeout = { connect = \"300ms\" }");
  }
  names.answer("good.test", {"127.0.0.1"});
  config += upstream("good", at("good.test", app));
  config += upstream("keyed", app.url()) + "[route.idempotency]\nenabled = true\n";
  Holdfast holdfast(config);
  for (int i = 0; i < 6; ++i) {
    check_problem(holdfast.get("/hangs" + std::to_string(i)), 504, "dns-timeout", "dns_timeout");
  }
  CHECK(names.questions("hangs5.test") > 0);
  CHECK(holdfast.get("/good").body == "found");
  CHECK(holdfast.post("/keyed", "x", with_key("one")).status == 200);
  CHECK(holdfast.reload(config + "# changed\n"));
  // The look-ups hang on, and the end does not wait for them.
  const Stopwatch stopwatch;
  CHECK(holdfast.stop() == 0);
  CHECK(stopwatch.elapsed() < 15s);
}

TEST_CASE("slow names that clients ask a forward proxy for do not hold up a configured one") {
  if (no_machine()) return;
  NameServer names;
  names.answer("good.test", {"127.0.0.1"});
  const ScriptedUpstream app(reply(200, "found"));
  const std::string proxy = "127.0.0.1:" + std::to_string(free_port());
  const std::string good = "http://good.test:" + port_of(app) + "/";
  const Holdfast holdfast("[[listener]]\nname = \"proxy\"\nlisten = \"" + proxy +
                          "\"\nmode = \"forward\"\nallow = [\"good.test:" + port_of(app) +
                          "\"]\n[upstream.slow]\nendpoints = [\"http://*.slow.test\"]\n" +
                          "[[route]]\nmatch = { host = \"*.slow.test\" }\nupstream = \"slow\"\n" +
                          "retry = { attempts = 1 }\ntimeout = { connect = \"60s\" }\n");
  // More than there are threads for look-ups.
  std::deque<RawClient> clients;
  const auto host = [](int i) { return "n" + std::to_string(i) + ".slow.test"; };
  for (int i = 0; i < 20; ++i) {
    names.hang(host(i));
    clients.emplace_back(proxy).send("GET http://" + host(i) + "/ HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  const auto asked = [&] {
    int count = 0;
    for (int i = 0; i < 20; ++i) count += names.questions(host(i)) > 0 ? 1 : 0;
    return count;
  };
  CHECK(eventually([&] { return asked() == 8; }));
  CHECK(fetch(proxy, good).body == "found");
  CHECK(asked() == 8);
}

TEST_CASE("it starts while no name can be looked up, and serves as soon as one can") {
  if (no_machine()) return;
  NameServer names;
  names.down(true);
  const ScriptedUpstream app(reply(200, "found"));
  machine().resolv_conf("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n");
  const Holdfast holdfast(upstream("app", at("late.test", app)));
  CHECK(holdfast.get("/app").status == 504);
  names.answer("late.test", {"127.0.0.1"});
  names.down(false);
  CHECK(eventually([&] { return holdfast.get("/app").status == 200; }));
}

TEST_CASE("the last good answer is used while no other comes, in whichever way it does not") {
  if (no_machine()) return;
  machine().resolv_conf("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n");
  NameServer names;
  const std::string name = "app.test";
  names.answer(name, {"127.0.0.1"});
  const ScriptedUpstream app(reply(200, "found"));
  const Holdfast holdfast(upstream("app", at(name, app), "dns_refresh = \"10ms\""));
  CHECK(holdfast.get("/app").status == 200);
  for (const std::string how : {"NXDOMAIN", "SERVFAIL", "silence"}) {
    CAPTURE(how);
    const std::size_t before = names.questions(name);
    if (how == "NXDOMAIN") names.does_not_exist(name);
    if (how == "SERVFAIL") names.server_failure(name);
    if (how == "silence") names.hang(name);
    CHECK(eventually([&] {
      REQUIRE(holdfast.get("/app").status == 200);
      return names.questions(name) > before + 2;
    }));
    CHECK(holdfast.metric("holdfast_upstream_names", {{"upstream", "app"}, {"state", "failing"}}) ==
          1);
  }
  CHECK(holdfast.wait_for_log("a name is not found, its last addresses stay in use"));
  names.answer(name, {"127.0.0.1"});
  CHECK(eventually([&] {
    REQUIRE(holdfast.get("/app").status == 200);
    return holdfast.metric("holdfast_upstream_names",
                           {{"upstream", "app"}, {"state", "failing"}}) == 0;
  }));
  CHECK(holdfast.wait_for_log("a name is found again"));
}

TEST_CASE(
    "each address of a name is an endpoint, and traffic moves with its addresses: none fails") {
  if (no_machine()) return;
  NameServer names;
  ScriptedUpstream first(reply(200, "first"));
  const std::string port = ":" + port_of(first);
  ScriptedUpstream second(reply(200, "second"), BodyReading::first, "127.0.0.2" + port);
  ScriptedUpstream third(reply(200, "third"), BodyReading::first, "127.0.0.3" + port);
  names.answer("app.test", {"127.0.0.1", "127.0.0.2"});
  const Holdfast holdfast(upstream("app", at("app.test", first), "dns_refresh = \"20ms\""));
  const auto seen = [&](int requests) {
    std::set<std::string> bodies;
    for (int i = 0; i < requests; ++i) {
      const Response response = holdfast.get("/app");
      REQUIRE(response.status == 200);
      bodies.insert(response.body);
    }
    return bodies;
  };
  CHECK(seen(50) == std::set<std::string>{"first", "second"});
  CHECK(holdfast.metric("holdfast_upstream_endpoints",
                        {{"upstream", "app"}, {"state", "healthy"}}) == 2);
  names.answer("app.test", {"127.0.0.3"});
  CHECK(eventually([&] { return seen(10) == std::set<std::string>{"third"}; }));
  names.answer("app.test", {"127.0.0.2", "127.0.0.1"});
  CHECK(eventually([&] { return seen(10) == std::set<std::string>{"first", "second"}; }));
}

TEST_CASE("of both families the one that answers is used, for a POST as well") {
  if (no_machine()) return;
  NameServer names;
  names.answer("app.test", {"127.0.0.1", "::1"});
  ScriptedUpstream app(reply(200, "found"));  // on 127.0.0.1 alone
  const Holdfast holdfast(upstream("app", at("app.test", app)));
  for (int i = 0; i < 20; ++i) CHECK(holdfast.post("/app", "x").status == 200);
  CHECK(holdfast.metric("http_client_requests_total", {{"host", "app"}, {"status", "200"}}) == 20);
  CHECK(app.connection_count() <= 2);
}
