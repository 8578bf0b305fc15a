// An upstream that is killed, stopped or deaf: nobody waits past the configured time, and
// service is back by itself when the upstream is.
#include <filesystem>

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

/// Two network namespaces of this test, joined by a cable: holdfast is to be in the first, which
/// has 10.9.9.1, an app in the second, at 10.9.9.2. Unix sockets lead into both.
class Namespaces {
 public:
  Namespaces() {
    usable_ = wait_for_namespace(near_) && wait_for_namespace(far_) &&
              ip(near_, "link add near type veth peer name far") &&
              ip(near_, "link set far netns " + std::to_string(far_.pid())) &&
              ip(near_, "addr add 10.9.9.1/24 dev near") && ip(near_, "link set near up") &&
              ip(far_, "addr add 10.9.9.2/24 dev far") && ip(far_, "link set far up") &&
              // Nobody there, and nobody who says so.
              ip(near_, "neigh add 10.9.9.3 lladdr 02:00:00:00:00:03 dev near") &&
              ip(near_, "route add unreachable 10.8.0.0/16");
    if (!usable_) MESSAGE("skipped: no network namespaces may be made here");
  }

  bool usable() const { return usable_; }
  std::vector<std::string> near() const { return within(near_); }
  std::vector<std::string> far() const { return within(far_); }
  /// From now on what one sends does not reach the other, and nobody is told.
  void cut_cable() { CHECK(ip(far_, "link set far down")); }
  void mend_cable() { CHECK(ip(far_, "link set far up")); }

 private:
  static std::vector<std::string> within(const ChildProcess& holder) {
    return {"/usr/bin/nsenter", "--target", std::to_string(holder.pid()), "--net"};
  }
  static bool ip(const ChildProcess& holder, const std::string& words) {
    std::vector<std::string> command = within(holder);
    for (const std::string& word : {std::string("/bin/sh"), std::string("-c"), "ip " + words}) {
      command.push_back(word);
    }
    return run_command(command).exit_code == 0;
  }
  /// It is another one than this process's once `unshare` has made it.
  static bool wait_for_namespace(ChildProcess& holder) {
    const auto of = [](const std::string& process) {
      std::error_code none;
      return std::filesystem::read_symlink("/proc/" + process + "/ns/net", none);
    };
    const std::string pid = std::to_string(holder.pid());
    return eventually([&] { return !holder.running() || of(pid) != of("self"); }) &&
           holder.running();
  }

  ChildProcess near_{{"/usr/bin/unshare", "--net", "/bin/sleep", "600"}};
  ChildProcess far_{{"/usr/bin/unshare", "--net", "/bin/sleep", "600"}};
  bool usable_ = false;
};

/// Listeners that are reached from every network namespace.
std::string sockets_in(const TemporaryFolder& folder) {
  return "[admin]\nlisten = \"unix:" + folder.path() + "/admin\"\n[[listener]]\nname = \"main\"\n" +
         "listen = \"unix:" + folder.path() + "/main\"\n";
}

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

TEST_CASE("an address that swallows packets is a time-out of ours, one without a way is said so") {
  Namespaces networks;
  if (!networks.usable()) return;
  const TemporaryFolder folder;
  std::string address;
  std::string status;
  std::string error;
  SUBCASE("a black hole") {
    address = "10.9.9.3:80";
    status = "504";
    error = "connection_timeout";
  }
  SUBCASE("nobody answers for the address") {
    address = "10.9.9.4:80";
    status = "504";
    error = "connection_timeout";
  }
  SUBCASE("unreachable") {
    address = "10.8.0.1:80";
    status = "502";
    error = "destination_ip_unroutable";
  }
  SUBCASE("no route at all") {
    address = "10.7.0.1:80";
    status = "502";
    error = "destination_ip_unroutable";
  }
  Setup setup = impatient("http://" + address);
  setup.route += "retry = { attempts = 1 }\n";
  setup.more = sockets_in(folder) + "[upstream.app.breaker]\nenabled = false\n";
  const Holdfast holdfast(setup, {.under = networks.near()});
  Load load(holdfast.address(), Ask::post, 8);
  load.let_pass(40);
  load.stop();
  check_ended_in_time(load.take(), {status});
  CHECK(holdfast.metric("http_client_requests_total", {{"status", error}}) > 0);
}

TEST_CASE("connections whose packets are lost cost their time-out, and none is used again") {
  Namespaces networks;
  if (!networks.usable()) return;
  const TemporaryFolder app_folder;
  const TemporaryFolder folder;
  const Holdfast app(
      "[admin]\nlisten = \"off\"\n[[listener]]\nname = \"main\"\nlisten = "
      "\"10.9.9.2:80\"\n[[route]]\nname = \"all\"\nrespond = { status = 200 }\n",
      {.wait_until_ready = false, .under = networks.far()});
  CHECK(app.wait_for_log("ready"));
  Setup setup = impatient("http://10.9.9.2:80");
  setup.more += sockets_in(folder);
  const Holdfast holdfast(setup, {.under = networks.near()});
  Load load(holdfast.address(), Ask::get);
  load.let_pass(100);
  networks.cut_cable();
  CHECK(load.wait_for("504"));
  CHECK(load.wait_for("503"));  // the breaker opens
  networks.mend_cable();
  CHECK(load.wait_for("200", 330ms + 2 * scheduling));
  CHECK(eventually([&] { return holdfast.breaker_state() == "closed"; }, 2 * scheduling));
  check_ended_in_time(load.take(), {"200", "502", "503", "504"});
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
