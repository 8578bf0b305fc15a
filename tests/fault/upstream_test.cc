// An upstream that is killed, stopped or deaf: nobody waits past the configured time, and
// service is back by itself when the upstream is.
#include "tests/fault/load.h"

using namespace holdfast::testing;

namespace {

constexpr Milliseconds scheduling{1500};  // what a busy machine may add to any wait

/// Ends soon where nothing answers, and asks again soon.
Setup impatient(const std::string& url) {
  Setup setup{.endpoints = {url}};
  setup.route = "timeout = { connect = \"200ms\", total = \"400ms\" }\n";
  setup.more = "[upstream.app.breaker]\nopen_for = \"300ms\"\nopen_max = \"300ms\"\n";
  return setup;
}

/// An app in a process of its own, which can be stopped and killed: holdfast, answering by itself.
class AppProcess {
 public:
  AppProcess() : process_(text) {}
  std::string url() const { return "http://" + process_.address(); }
  void kill() {
    process_.ended_as_expected();
    process_.signal(SIGKILL);
    process_.process().wait_for_exit();
  }
  void start_again() { process_.start_again(); }
  void signal(int number) { process_.signal(number); }

 private:
  static constexpr const char* text = "[[route]]\nname = \"all\"\nrespond = { status = 200 }\n";
  Holdfast process_;
};

/// Connections are made by the kernel until its queue is full, and nobody takes them.
class DeafServer {
 public:
  DeafServer() : listener_("127.0.0.1:0", 1) {}
  std::string url() const { return "http://" + listener_.address(); }

 private:
  ListeningSocket listener_;
};

/// Every request so far ended within `total`, as one of these.
void check_ended_in_time(const Tally& tally, const std::vector<std::string>& outcomes) {
  int expected = 0;
  for (const std::string& outcome : outcomes) expected += tally.of(outcome);
  CHECK_MESSAGE(expected == tally.total(), tally.text());
  CHECK(tally.slowest < 400ms + scheduling);
}

}  // namespace

TEST_CASE("an upstream that is killed is answered for, and used again when it is back") {
  AppProcess app;
  const Holdfast holdfast(impatient(app.url()));
  Load load(holdfast.address(), Ask::get);
  load.let_pass(100);
  CHECK(load.take().text().starts_with("200: "));
  for (int round = 0; round < 3; ++round) {
    app.kill();
    CHECK(load.wait_for("502"));
    CHECK(load.wait_for("503"));  // the breaker opens
    app.start_again();
    CHECK(load.wait_for("200", 330ms + scheduling));
    check_ended_in_time(load.take(), {"200", "502", "503"});
  }
}

TEST_CASE("an upstream that is stopped costs its time-out, then nothing, and comes back") {
  AppProcess app;
  const Holdfast holdfast(impatient(app.url()));
  Load load(holdfast.address(), Ask::get);
  load.let_pass(100);
  app.signal(SIGSTOP);
  CHECK(load.wait_for("504"));
  CHECK(holdfast.wait_metric("holdfast_breaker_transitions_total",
                             {{"from", "closed"}, {"to", "open"}}, 1));
  app.signal(SIGCONT);
  CHECK(load.wait_for("200", 330ms + scheduling));
  CHECK(eventually([&] { return holdfast.breaker_state() == "closed"; }, 2 * scheduling));
  check_ended_in_time(load.take(), {"200", "502", "503", "504"});
}

TEST_CASE("a full queue of connections is a time-out of ours, not of the kernel") {
  const DeafServer app;
  Setup setup = impatient(app.url());
  setup.more = "[upstream.app.breaker]\nenabled = false\n";
  const Holdfast holdfast(setup);
  Load load(holdfast.address(), Ask::get, 16);
  load.let_pass(48);
  load.stop();
  check_ended_in_time(load.take(), {"504"});
  CHECK(holdfast.metric("http_client_requests_total", {{"status", "connection_timeout"}}) > 0);
}

TEST_CASE("an upstream that talks nonsense for a while harms nobody afterwards") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(impatient(app.url()));
  Load load(holdfast.address(), Ask::get);
  for (const std::string nonsense :
       {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/2.0 999\r\n\r\n"}) {
    app.answer(send_and_close(nonsense));
    CHECK(load.wait_for("502"));
    app.answer(reply(200));
    CHECK(load.wait_for("200", 330ms + scheduling));
  }
  check_ended_in_time(load.take(), {"200", "502", "503"});
}
