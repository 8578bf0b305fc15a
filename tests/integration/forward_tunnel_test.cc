// How tunnels of a forward listener end when not by themselves: drains and time-outs, and what the
// log says then. And requests to https wildcards, where holdfast makes the TLS.
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/forward_setup.h"
#include "tests/support/keyed_setup.h"
#include "tests/support/tls_front.h"

using namespace holdfast::testing;

namespace {

/// A tunnel through holdfast that stands: both its ends.
class Tunnel {
 public:
  Tunnel(const std::string& proxy, ListeningSocket& peer) : client(proxy) {
    CHECK(tunnel_to(client, "app.internal:" + port_of(peer.address())).status == 200);
    std::optional<Socket> accepted = peer.accept(patience);
    REQUIRE(accepted);
    far = std::move(*accepted);
  }
  Tunnel(const Holdfast& holdfast, ListeningSocket& peer) : Tunnel(holdfast.address(), peer) {}

  /// A byte there and back. False where the tunnel is no more.
  bool carries() {
    return at(client_fault_, [&] { client.send("a"); }) &&
           at(far_fault_, [&] { far_reader_.read_exactly(1); }) &&
           at(far_fault_, [&] { far.send("b"); }) &&
           at(client_fault_, [&] { client.reader().read_exactly(1); });
  }
  /// Both ends see that it was cut, and not that it ended.
  void check_cut() {
    at(client_fault_, [&] { client.reader().read_to_end(); });
    at(far_fault_, [&] { far_reader_.read_to_end(); });
    CHECK(client_fault_ == Fault::reset);
    CHECK(far_fault_ == Fault::reset);
  }

  RawClient client;
  Socket far;

 private:
  /// False if `act` threw: how its end was cut is kept, and told once by the kernel.
  template <class Act>
  bool at(Fault& fault, Act&& act) {
    try {
      act();
      return true;
    } catch (const WireError& error) {
      if (fault == Fault::none) fault = error.fault();
      return false;
    }
  }

  WireReader far_reader_{far};
  Fault client_fault_ = Fault::none;
  Fault far_fault_ = Fault::none;
};

Forward to(const ListeningSocket& peer, const std::string& route = "",
           const std::string& server = "") {
  return Forward(wildcard(port_of(peer.address()), route) + server);
}

bool refuses(const std::string& address) {
  try {
    Socket::connect(address);
    return false;
  } catch (const WireError&) {
    return true;
  }
}

/// The line of the one tunnel of this holdfast, which `error` ended.
void check_line(const Holdfast& holdfast, const std::string& error) {
  const nlohmann::json line = holdfast.wait_access_log(1);
  CAPTURE(line.dump());
  CHECK(line["method"] == "CONNECT");
  CHECK(line["status"] == 200);
  CHECK(line["upstream"] == "internal");
  CHECK((line["error"].is_null() ? "" : line["error"].get<std::string>()) == error);
}

}  // namespace

TEST_SUITE("drain") {
  TEST_CASE("a tunnel goes on until drain_timeout, then is cut at both ends; no new one is made") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    Holdfast holdfast(to(peer, "", "[server]\ndrain_timeout = \"2s\"\n").text);
    Tunnel tunnel(holdfast, peer);
    const Stopwatch since;
    holdfast.signal(SIGTERM);
    CHECK(eventually([&] { return refuses(holdfast.address()); }));
    int carried = 0;
    while (tunnel.carries()) ++carried;
    CHECK(carried > 0);
    CHECK(since.elapsed() >= 1999ms);
    tunnel.check_cut();
    CHECK(holdfast.wait_for_log("drain timeout: what is still in flight is cut"));
    CHECK(holdfast.process().wait_for_exit() == 0);
    check_line(holdfast, "");
  }

  TEST_CASE("a tunnel that ends in a drain ends it, and the code is 0") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    Holdfast holdfast(to(peer, "", "[server]\ndrain_timeout = \"off\"\n").text);
    Tunnel tunnel(holdfast, peer);
    holdfast.signal(SIGTERM);
    CHECK(eventually([&] { return refuses(holdfast.address()); }));
    CHECK(tunnel.carries());
    tunnel.far.close();
    CHECK(tunnel.client.wait_for_close() == Fault::end);
    CHECK(holdfast.process().running());
    tunnel.client.close();
    CHECK(holdfast.process().wait_for_exit() == 0);
    check_line(holdfast, "");
  }

  TEST_CASE("of two CONNECTs on connections that were there, the one sent before is granted") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    Gate gate;
    ScriptedUpstream slow(after(gate, reply(200, "slow")));
    Holdfast holdfast(Forward(wildcard(port_of(peer.address())),
                              "allow = [\"127.0.0.1:" + port_of(slow.address()) + "\"]")
                          .text);
    const std::string get = request_text("GET", "http://" + slow.address() + "/");
    const std::string authority = "app.internal:" + port_of(peer.address());
    const std::string connect =
        "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
    RawClient before = holdfast.client();
    RawClient later = holdfast.client();
    before.send(get + connect);
    later.send(get);
    REQUIRE(slow.wait_for_requests(2));
    holdfast.signal(SIGTERM);
    CHECK(eventually([&] { return refuses(holdfast.address()); }));
    gate.open();
    CHECK(before.read_response().body == "slow");
    CHECK(before.read_response("CONNECT").status == 200);
    std::optional<Socket> far = peer.accept(patience);
    REQUIRE(far);
    const Response last = later.read_response();
    CHECK(last.headers.get("Connection") == "close");
    later.send_if_open(connect);
    CHECK(later.read_to_end().empty());
    before.close();
    far->close();
    CHECK(holdfast.process().wait_for_exit() == 0);
    CHECK_FALSE(peer.accept(0ms));
  }
}

TEST_SUITE("time-outs") {
  TEST_CASE("a tunnel that is silent for `idle` is cut, and one that is not is not") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    const Holdfast holdfast(to(peer, "timeout = { idle = \"1500ms\", total = \"100ms\" }").text);
    Tunnel tunnel(holdfast, peer);
    const Stopwatch since;
    while (since.elapsed() < 2s) REQUIRE(tunnel.carries());
    const Stopwatch silent;
    tunnel.check_cut();
    CHECK(silent.elapsed() >= 1400ms);
    check_line(holdfast, "connection_read_timeout");
    CHECK(holdfast.metric("holdfast_requests_total", {{"method", "CONNECT"}, {"status", "200"}}) ==
          1);
  }

  TEST_CASE("one that nobody reads from is cut by `idle` as well") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    const Holdfast holdfast(to(peer, "timeout = { idle = \"500ms\" }").text);
    Tunnel tunnel(holdfast, peer);
    const std::string much(1 << 20, 'x');
    try {
      for (;;) tunnel.far.send(much);
    } catch (const WireError& error) {
      CHECK(error.fault() == Fault::reset);
    }
    Fault fault = Fault::none;
    tunnel.client.read_to_end(&fault);
    CHECK(fault == Fault::reset);
    check_line(holdfast, "connection_write_timeout");
  }

  TEST_CASE("`stream` cuts the liveliest tunnel") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    const Holdfast holdfast(to(peer, "timeout = { stream = \"1s\" }").text);
    Tunnel tunnel(holdfast, peer);
    int carried = 0;
    while (tunnel.carries()) ++carried;
    CHECK(carried > 0);
    tunnel.check_cut();
    check_line(holdfast, "connection_read_timeout");
  }

  TEST_CASE(
      "a destination that breaks off is named in the log, and the client is not told an end") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    const Holdfast holdfast(to(peer).text);
    Tunnel tunnel(holdfast, peer);
    CHECK(tunnel.carries());
    tunnel.far.reset();
    CHECK(tunnel.client.wait_for_close() == Fault::reset);
    check_line(holdfast, "connection_terminated");
  }
}

TEST_SUITE("what else may happen to a tunnel") {
  TEST_CASE("a reload that takes its route away leaves it, and refuses the next one") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    const Forward with = to(peer);
    Holdfast holdfast(with.text);
    Tunnel tunnel(holdfast, peer);
    const std::string without =
        with.text.substr(0, with.text.find("[upstream.")) + "[[route]]\nrespond = {}\n";
    CHECK(holdfast.reload(without));
    CHECK(tunnel.carries());
    RawClient late = holdfast.client();
    check_problem(tunnel_to(late, "app.internal:" + port_of(peer.address())), 403,
                  "destination-not-allowed");
    CHECK(tunnel.carries());
    CHECK(holdfast.reload(with.text));
    Tunnel again(holdfast, peer);
    CHECK(again.carries());
    CHECK(tunnel.carries());
  }

  TEST_CASE("it holds a place of its destination's pool until it ends") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    const Holdfast holdfast(to(peer, "retry = { attempts = 1 }",
                               "[upstream.internal.pool]\nmax_connections = 1\nmax_pending = 0\n")
                                .text);
    const std::string port = port_of(peer.address());
    std::optional<Tunnel> tunnel(std::in_place, holdfast, peer);
    RawClient second = holdfast.client();
    check_problem(tunnel_to(second, "app.internal:" + port), 503, "connection-limit-reached",
                  "connection_limit_reached");
    RawClient elsewhere = holdfast.client();
    CHECK(tunnel_to(elsewhere, "other.internal:" + port).status == 200);
    elsewhere.reset();  // its other end is never taken from the queue, and would not end
    tunnel.reset();
    CHECK(eventually([&] {
      RawClient third = holdfast.client();
      const int status = tunnel_to(third, "app.internal:" + port).status;
      third.reset();
      return status == 200;
    }));
  }

  TEST_CASE("a client that leaves while its destination is connected to leaves nothing") {
    if (no_machine()) return;
    const BlackHole hole;
    const Holdfast holdfast(
        Forward(wildcard(port_of(hole.address()), "timeout = { connect = \"30s\" }\n")).text);
    const Stopwatch since;
    for (int i = 0; i < 20; ++i) {
      RawClient client = holdfast.client();
      const std::string authority = "app.internal:" + port_of(hole.address());
      client.send("CONNECT " + authority + " HTTP/1.1\r\nHost: a\r\n\r\n");
      client.reset();
    }
    const nlohmann::json line = holdfast.wait_access_log(20);
    CHECK(line["status"].is_null());
    CHECK(line["method"] == "CONNECT");
    CHECK(since.elapsed() < 25s);
  }

  TEST_CASE("to an address that allow names, of either family; and an Upgrade by a whole target") {
    if (no_machine()) return;
    ScriptedUpstream six(reply(200, "six"), BodyReading::first, "[::1]:0");
    ScriptedUpstream app(send_raw(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        "hello"));
    const Holdfast holdfast(Forward(wildcard(port_of(app.address()), "upgrade = [\"websocket\"]"),
                                    "allow = [\"" + six.address() + "\"]")
                                .text);
    RawClient client = holdfast.client();
    CHECK(tunnel_to(client, six.address()).status == 200);
    CHECK(client.get("/").body == "six");
    CHECK(fetch(holdfast.address(), "http://" + six.address() + "/").body == "six");
    RawClient other = holdfast.client();
    other.send(request_text("GET", "http://app.internal:" + port_of(app.address()) + "/ws",
                            {{"Connection", "Upgrade"}, {"Upgrade", "websocket"}}));
    CHECK(other.read_response().status == 101);
    CHECK(other.reader().read_exactly(5) == "hello");
  }

  TEST_CASE("much goes both ways at once, unchanged, and little of it is in memory") {
    if (no_machine()) return;
    ListeningSocket peer("127.0.0.1:0");
    Holdfast holdfast(to(peer).text);
    Tunnel tunnel(holdfast, peer);
    constexpr std::size_t much = 32 << 20;
    std::string pattern;
    for (int i = 0; pattern.size() < much; ++i) pattern += std::to_string(i) + ",";
    pattern.resize(much);
    std::thread up([&] { tunnel.client.send(pattern); });
    std::thread down([&] { tunnel.far.send(pattern); });
    bool same = false;
    std::thread far([&] {
      WireReader reader(tunnel.far);
      same = reader.read_exactly(much) == pattern;
    });
    CHECK((tunnel.client.reader().read_exactly(much) == pattern));
    for (std::thread* each : {&up, &down, &far}) each->join();
    CHECK(same);
    if (!built_with_sanitizers)
      CHECK(holdfast.process().resident_bytes() < (std::size_t{64} << 20));
  }
}

TEST_SUITE("https wildcards") {
  const Authority& authority() {
    static const Authority made;
    return made;
  }

  /// A peer that is app.internal by its certificate, whatever else it is called.
  struct SecureApp {
    ScriptedUpstream app{reply(200, "secret")};
    TlsFront front{app.address(), authority().issue({.san = "DNS:app.internal"})};
    std::string port = port_of(front.address());

    std::string upstream(const std::string& route = "") const {
      return "[upstream.internal]\nendpoints = [\"https://*.internal:" + port +
             "\"]\ntls = { ca = \"" + authority().ca_file() +
             "\" }\n[[route]]\nname = \"internal\"\n" +
             "match = { host = \"*.internal\" }\nupstream = \"internal\"\n" + route + "\n";
    }
  };

  TEST_CASE("http to holdfast is https behind it, by the name the client asked for") {
    if (no_machine()) return;
    const SecureApp secure;
    const Holdfast holdfast(Forward(secure.upstream()).text);
    for (const std::string& url :
         {std::string("http://app.internal/x"), "http://app.internal:" + secure.port + "/x"}) {
      CAPTURE(url);
      CHECK(fetch(holdfast.address(), url).body == "secret");
      CHECK(secure.app.last_request().target == "/x");
      CHECK(secure.app.last_request().headers.get("Host") == "app.internal:" + secure.port);
      CHECK(secure.front.asked_name() == "app.internal");
    }
    CHECK(secure.front.connections() == 1);  // it is one destination
    check_problem(fetch(holdfast.address(), "http://app.internal:1/"), 403,
                  "destination-not-allowed");
  }

  TEST_CASE("a host whose certificate is another's is refused, and has a breaker of its own") {
    if (no_machine()) return;
    const SecureApp secure;
    const Holdfast holdfast(Forward(secure.upstream("retry = { attempts = 1 }") +
                                    "[upstream.internal.breaker]\nconsecutive_failures = 2\n")
                                .text);
    for (int i = 0; i < 2; ++i) {
      check_problem(fetch(holdfast.address(), "http://other.internal/"), 502,
                    "tls-certificate-error", "tls_certificate_error");
    }
    check_problem(fetch(holdfast.address(), "http://other.internal/"), 503,
                  "destination-unavailable");
    CHECK(fetch(holdfast.address(), "http://app.internal/").body == "secret");
    CHECK(secure.app.request_count() == 1);
  }

  TEST_CASE("a keyed POST runs once behind it, and a CONNECT is opaque: no TLS around TLS") {
    if (no_machine()) return;
    const SecureApp secure;
    const Holdfast holdfast(Forward(secure.upstream("[route.idempotency]\nenabled = true") +
                                    "[store]\nkind = \"memory\"\n")
                                .text);
    for (int i = 0; i < 2; ++i) {
      CHECK(fetch(holdfast.address(), "http://app.internal/pay", with_key("k"), "POST", "1").body ==
            "secret");
    }
    CHECK(secure.app.request_count() == 1);
    const std::string url = "https://app.internal:" + secure.port + "/";
    const CommandResult curl =
        run_command({"/usr/bin/curl", "--silent", "--show-error", "--cacert", authority().ca_file(),
                     "--proxy", "http://" + holdfast.address(), url});
    CHECK_MESSAGE(curl.output.starts_with("secret"), curl.error);
  }
}
