// An answer that breaks off at each of its bytes, and a request that breaks off at each of its own:
// a client never sees a cut answer as a whole one, and no POST is sent twice.
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

const std::string head_by_length =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    "Content-Length: 27\r\nX-A: b\r\n\r\n";
const std::string head_by_chunks =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    "Transfer-Encoding: chunked\r\nX-A: b\r\n\r\n";
const std::string body = "one answer, and no other one";

/// How a connection ends, or does not.
const std::vector<std::string> breaks = {"reset", "fin", "stall"};

/// One answer: its framing, and where and how it breaks. It travels in the request's target.
struct Case {
  std::string framing;
  std::string how;
  std::size_t offset = 0;

  std::string target() const { return "/" + framing + "/" + how + "/" + std::to_string(offset); }
  const std::string& head() const { return framing == "chunks" ? head_by_chunks : head_by_length; }
  std::string bytes() const {
    if (framing == "chunks") {
      return head() + chunk(body.substr(0, 13)) + chunk(body.substr(13, 14)) + chunk("");
    }
    return head() + body.substr(0, 27);
  }
};

Case case_of(const std::string& target) {
  const auto second = target.find('/', 1);
  const auto third = target.find('/', second + 1);
  return {target.substr(1, second - 1), target.substr(second + 1, third - second - 1),
          std::stoul(target.substr(third + 1))};
}

std::vector<Case> every_case() {
  std::vector<Case> all;
  for (const std::string framing : {"length", "chunks"}) {
    for (const std::string& how : breaks) {
      const std::size_t length = Case{framing, how, 0}.bytes().size();
      for (std::size_t offset = 0; offset <= length; ++offset)
        all.push_back({framing, how, offset});
    }
  }
  return all;
}

void break_off(Exchange& exchange) {
  const Case broken = case_of(exchange.request.target);
  exchange.send(broken.bytes().substr(0, broken.offset));
  if (broken.how == "reset") return exchange.reset();
  if (broken.how == "fin") return exchange.close();
  exchange.wait_for_close();
}

/// Calls `each` for every number below `count`, from many threads, as most of it is waiting.
void in_parallel(std::size_t count, const std::function<void(std::size_t)>& each) {
  constexpr int threads = 48;
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> all;
  for (int n = 0; n < threads; ++n) {
    all.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) each(i);
    });
  }
  for (std::thread& thread : all) thread.join();
}

/// "" if the client was told the truth about this case, else what it was told.
std::string lie(const Case& broken, const Response& response) {
  const std::string told = broken.target() + ": " + std::to_string(response.status) +
                           (response.complete ? " whole" : " cut") + " " + response.body;
  const bool has_error = response.complete && (response.status == 502 || response.status == 504);
  const bool is_cut = !response.complete && response.fault != Fault::timeout;
  const bool is_whole =
      response.complete && response.status == 200 && response.body == body.substr(0, 27);
  const bool all_was_sent = broken.offset == broken.bytes().size();
  if (broken.offset < broken.head().size()) return has_error ? "" : told;
  // A reset may take with it what was sent before it.
  if (broken.how == "reset") return has_error || is_cut || (is_whole && all_was_sent) ? "" : told;
  return (all_was_sent ? is_whole : is_cut) ? "" : told;
}

/// An upstream that gives up on a request when it has read so many bytes of it; the first line of a
/// request says how: "POST /reset/17/name".
class Quitter {
 public:
  Quitter() : listener_("127.0.0.1:0") {
    acceptor_ = std::thread([this] {
      while (!stopping_) {
        auto accepted = listener_.accept(5ms);
        if (!accepted) continue;
        connections_.emplace_back(
            [this, socket = std::move(*accepted)]() mutable { serve(std::move(socket)); });
      }
    });
  }
  ~Quitter() {
    stopping_ = true;
    acceptor_.join();
    for (std::thread& each : connections_) each.join();
  }

  std::string url() const { return "http://" + listener_.address(); }
  /// How often this target was sent here.
  int sent(const std::string& target) {
    const std::lock_guard lock(mutex_);
    return sent_[target];
  }

 private:
  void serve(Socket socket) {
    try {
      std::string text;
      while (text.find(" HTTP/1.1\r\n") == text.npos) {
        const std::string more = socket.receive(1);
        if (more.empty()) return;
        text += more;
      }
      const auto start = text.find(' ') + 1;
      const std::string target = text.substr(start, text.find(' ', start) - start);
      {
        const std::lock_guard lock(mutex_);
        ++sent_[target];
      }
      const Case quitting = case_of("/request" + target.substr(0, target.rfind('/')));
      while (text.size() < quitting.offset) {
        const std::string more = socket.receive(1, 200ms);
        if (more.empty()) return;
        text += more;
      }
      if (quitting.how == "reset") return socket.reset();
      if (quitting.how == "fin") socket.shutdown_write();
      while (!socket.receive(4096).empty()) {
      }
    } catch (const WireError&) {  // it is shorter than that, or the peer left
    }
  }

  ListeningSocket listener_;
  std::mutex mutex_;
  std::map<std::string, int> sent_;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

const std::string impatient = "timeout = { total = \"150ms\", idle = \"150ms\" }\n";
const std::string no_breaker = "[upstream.app.breaker]\nenabled = false\n";
constexpr std::size_t longest_request = 330;  // a request as it is passed on is a little shorter
constexpr std::size_t stride = 2;

}  // namespace

TEST_CASE("an answer that breaks off at any byte is an error or a visible cut") {
  ScriptedUpstream app(break_off);
  const Holdfast holdfast(Setup{.endpoints = {app.url()},
                                .route = impatient + "[route.retry]\nattempts = 1\n",
                                .more = no_breaker});
  const std::vector<Case> cases = every_case();
  std::vector<std::string> lies(cases.size());
  in_parallel(cases.size(),
              [&](std::size_t i) { lies[i] = lie(cases[i], holdfast.get(cases[i].target())); });
  for (const std::string& each : lies) CHECK(each == "");
  MESSAGE(cases.size() << " answers broken off");
}

TEST_CASE("an answer that breaks off before its head is whole is asked for again") {
  std::mutex mutex;
  std::map<std::string, int> asked;
  ScriptedUpstream app([&](Exchange& exchange) {
    const auto first = [&] {
      const std::lock_guard lock(mutex);
      return ++asked[exchange.request.target] == 1;
    };
    if (first()) return break_off(exchange);
    exchange.send(case_of(exchange.request.target).bytes());
  });
  const Holdfast holdfast(Setup{.endpoints = {app.url()},
                                .route =
                                    "timeout = { per_try = \"150ms\" }\n[route.retry]\nattempts = "
                                    "3\non = [\"reset\", \"timeout\"]\n"
                                    "backoff = { base = \"1ms\" }\nbudget = { ratio = 1.0 }\n",
                                .more = no_breaker});
  std::vector<Case> cases = every_case();
  std::erase_if(cases, [](const Case& each) { return each.offset >= each.head().size(); });
  std::vector<std::string> wrong(cases.size());
  in_parallel(cases.size(), [&](std::size_t i) {
    const Response response = holdfast.get(cases[i].target());
    if (response.status == 200 && response.complete && response.body == body.substr(0, 27)) return;
    wrong[i] = cases[i].target() + ": " + std::to_string(response.status);
  });
  for (const std::string& each : wrong) CHECK(each == "");
  for (const auto& [target, count] : asked) CHECK_MESSAGE(count == 2, target);
}

TEST_CASE("a POST whose upstream gives up at any byte of it is sent once") {
  Quitter app;
  bool keyed = false;
  SUBCASE("without a key") {}
  SUBCASE("with a key, and asked for again") {
    keyed = true;
  }
  Setup setup{.endpoints = {app.url()}, .route = impatient, .more = no_breaker};
  if (keyed) {
    setup.route += "[route.idempotency]\nenabled = true\nmax_execution = \"150ms\"\n";
    setup.more += "[store]\nkind = \"memory\"\n";
  }
  const Holdfast holdfast(setup);
  std::vector<std::string> wrong(longest_request / stride * breaks.size());
  in_parallel(wrong.size(), [&](std::size_t i) {
    const std::string target = "/" + breaks[i % breaks.size()] + "/" +
                               std::to_string(i / breaks.size() * stride) + "/order";
    const Headers headers =
        keyed ? Headers{{"Idempotency-Key", target}, {"Authorization", "alice"}} : Headers{};
    for (int times = 0; times < (keyed ? 2 : 1); ++times) {
      const int status = holdfast.post(target, "order", headers).status;
      if (status != 502 && status != 504 && status != 409) {
        wrong[i] = target + ": " + std::to_string(status);
      }
    }
    const int sent = app.sent(target);
    if (sent != 1) wrong[i] += target + ": sent " + std::to_string(sent) + " times";
  });
  for (const std::string& each : wrong) CHECK(each == "");
}
