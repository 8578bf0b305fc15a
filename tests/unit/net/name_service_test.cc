#include "holdfast/net/name_service.h"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace holdfast::net {
namespace {

using Answer = NameService::Answer;
constexpr NameService::Wish configured = NameService::Wish::configured;
constexpr NameService::Wish of_client = NameService::Wish::of_client;

/// A resolver whose answers the test gives: a look-up blocks until its name has one.
class Names {
 public:
  Answer ask(const std::string& host) {
    std::unique_lock lock(mutex_);
    ++asked_[host];
    changed_.notify_all();
    changed_.wait(lock, [&] { return answers_.contains(host); });
    const std::string ip = answers_[host];
    changed_.notify_all();
    if (ip.empty()) return unexpected(std::string("no such name"));
    return std::vector<Address>{*Address::from_ip(ip, 0)};
  }
  void answer(const std::string& host, const std::string& ip) {
    const std::lock_guard lock(mutex_);
    answers_[host] = ip;
    changed_.notify_all();
  }
  void wait_asked(const std::string& host, int times = 1) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_[host] >= times; });
  }
  int asked(const std::string& host) {
    const std::lock_guard lock(mutex_);
    return asked_[host];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> answers_;
  std::map<std::string, int> asked_;
};

/// What an Asker was told.
class Told {
 public:
  auto hear() {
    return [this](std::shared_ptr<const Answer> answer) {
      const std::lock_guard lock(mutex_);
      answer_ = *answer ? answer->value().front().ip() : "error: " + answer->error();
      changed_.notify_all();
    };
  }
  std::string wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answer_.has_value(); });
    return *answer_;
  }
  bool told() {
    const std::lock_guard lock(mutex_);
    return answer_.has_value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::string> answer_;
};

struct Fixture {
  // Shared with look-ups that outlive the service.
  std::shared_ptr<Names> names = std::make_shared<Names>();
  NameService service{2, [names = names](const std::string& host) { return names->ask(host); }};
};

TEST_CASE("a name that fails says why, and one that answers has its addresses") {
  Fixture f;
  Told good, bad;
  f.names->answer("a", "10.0.0.1");
  f.names->answer("b", "");
  const NameService::Asker one(f.service, "a", configured, good.hear());
  const NameService::Asker other(f.service, "b", configured, bad.hear());
  CHECK(good.wait() == "10.0.0.1");
  CHECK(bad.wait() == "error: no such name");
}

TEST_CASE("a name is asked about once for all who wait, and anew for who comes later") {
  Fixture f;
  Told one, two, later;
  const NameService::Asker first(f.service, "a", configured, one.hear());
  f.names->wait_asked("a");
  const NameService::Asker second(f.service, "a", configured, two.hear());
  f.names->answer("a", "10.0.0.1");
  CHECK(one.wait() == "10.0.0.1");
  CHECK(two.wait() == "10.0.0.1");
  CHECK(f.names->asked("a") == 1);
  const NameService::Asker third(f.service, "a", configured, later.hear());
  CHECK(later.wait() == "10.0.0.1");
  CHECK(f.names->asked("a") == 2);
}

TEST_CASE("a name that hangs holds up no other, up to the bound on threads") {
  Fixture f;
  Told hanging, other;
  CHECK(f.service.threads() == 1);
  const NameService::Asker first(f.service, "hangs", configured, hanging.hear());
  f.names->wait_asked("hangs");
  f.names->answer("a", "10.0.0.1");
  const NameService::Asker second(f.service, "a", configured, other.hear());
  CHECK(other.wait() == "10.0.0.1");
  CHECK_FALSE(hanging.told());

  Told also_hanging, in_line;
  const NameService::Asker third(f.service, "hangs too", configured, also_hanging.hear());
  f.names->wait_asked("hangs too");
  f.names->answer("b", "10.0.0.2");
  const NameService::Asker fourth(f.service, "b", configured, in_line.hear());
  CHECK(f.service.threads() == 2);
  CHECK(f.names->asked("b") == 0);
  f.names->answer("hangs", "10.0.0.3");
  CHECK(in_line.wait() == "10.0.0.2");
  CHECK(hanging.wait() == "10.0.0.3");
  f.names->answer("hangs too", "10.0.0.4");
  CHECK(also_hanging.wait() == "10.0.0.4");
}

TEST_CASE("who does not wait any more is not told, and a name in line is then not asked about") {
  Fixture f;
  Told first_told, second_told, third_told, gone_told;
  {
    const NameService::Asker first(f.service, "hangs", configured, first_told.hear());
    const NameService::Asker second(f.service, "hangs too", configured, second_told.hear());
    f.names->wait_asked("hangs");
    f.names->wait_asked("hangs too");
    const NameService::Asker in_line(f.service, "in line", configured, gone_told.hear());
  }
  f.names->answer("in line", "10.0.0.9");
  f.names->answer("hangs", "10.0.0.1");
  f.names->answer("hangs too", "10.0.0.1");
  f.names->answer("last", "10.0.0.2");
  const NameService::Asker last(f.service, "last", configured, third_told.hear());
  CHECK(third_told.wait() == "10.0.0.2");
  CHECK_FALSE(first_told.told());
  CHECK_FALSE(second_told.told());
  CHECK_FALSE(gone_told.told());
  CHECK(f.names->asked("in line") == 0);
}

// -- names that clients choose

/// A service of so many threads, and clients that ask for names.
struct ClientsFixture {
  explicit ClientsFixture(std::size_t threads)
      : service(threads, [names = names](const std::string& host) { return names->ask(host); }) {}
  ~ClientsFixture() {
    for (int i = 0; i < asked; ++i) names->answer(host(i), "10.0.0.9");  // let threads end
  }
  static std::string host(int i) { return "slow" + std::to_string(i); }
  void ask(int count) {
    for (; count > 0; --count) {
      told.push_back(std::make_unique<Told>());
      askers.push_back(std::make_unique<NameService::Asker>(service, host(asked++), of_client,
                                                            told.back()->hear()));
    }
  }
  std::shared_ptr<Names> names = std::make_shared<Names>();
  NameService service;
  int asked = 0;
  std::vector<std::unique_ptr<Told>> told;
  std::vector<std::unique_ptr<NameService::Asker>> askers;
};

TEST_CASE("slow names of clients hold half of the threads, and configured ones find the others") {
  ClientsFixture f(4);
  f.ask(10);
  f.names->wait_asked("slow0");
  f.names->wait_asked("slow1");
  Told first, second, third;
  const NameService::Asker one(f.service, "hangs", configured, first.hear());
  f.names->wait_asked("hangs");
  f.names->answer("a", "10.0.0.1");
  const NameService::Asker two(f.service, "a", configured, second.hear());
  CHECK(second.wait() == "10.0.0.1");
  f.names->answer("hangs", "10.0.0.2");
  CHECK(first.wait() == "10.0.0.2");
  CHECK(f.service.threads() == 4);
  for (int i = 2; i < 10; ++i) CHECK(f.names->asked(f.host(i)) == 0);
  // One that ends gives its place to the next, and to that one alone.
  f.names->answer("slow1", "10.0.0.3");
  CHECK(f.told[1]->wait() == "10.0.0.3");
  f.names->wait_asked("slow2");
  f.names->answer("b", "10.0.0.4");
  const NameService::Asker three(f.service, "b", configured, third.hear());
  CHECK(third.wait() == "10.0.0.4");
  CHECK(f.names->asked("slow3") == 0);
}

TEST_CASE("clients stand in a line that has an end; who comes behind it is refused at once") {
  ClientsFixture f(2);
  f.ask(1);
  f.names->wait_asked("slow0");
  f.ask(static_cast<int>(NameService::max_in_line));
  CHECK_FALSE(f.told.back()->told());
  f.ask(1);
  REQUIRE(f.told.back()->told());
  CHECK(f.told.back()->wait() == "error: too many names that clients ask for are being looked up");
  // What is in line already can be waited for, and configured names are looked up as ever.
  Told again, other;
  const NameService::Asker same(f.service, "slow1", of_client, again.hear());
  CHECK_FALSE(again.told());
  f.names->answer("a", "10.0.0.1");
  const NameService::Asker asker(f.service, "a", configured, other.hear());
  CHECK(other.wait() == "10.0.0.1");
  // Who goes away makes room.
  f.askers[2].reset();
  f.ask(1);
  CHECK_FALSE(f.told.back()->told());
  f.ask(1);
  CHECK(f.told.back()->told());
}

TEST_CASE("a name that clients wait in line for does so no longer once it is a configured one's") {
  ClientsFixture f(2);
  f.ask(3);
  f.names->wait_asked("slow0");
  CHECK(f.names->asked("slow2") == 0);
  f.names->answer("slow2", "10.0.0.1");
  Told told;
  const NameService::Asker asker(f.service, "slow2", configured, told.hear());
  CHECK(told.wait() == "10.0.0.1");
  CHECK(f.told[2]->wait() == "10.0.0.1");
  CHECK(f.names->asked("slow2") == 1);
  CHECK(f.names->asked("slow1") == 0);
}

TEST_CASE("the end does not wait for a look-up that hangs") {
  auto names = std::make_shared<Names>();
  {
    NameService service(2, [names](const std::string& host) { return names->ask(host); });
    Told told;
    const NameService::Asker asker(service, "hangs", configured, told.hear());
    names->wait_asked("hangs");
  }
  // The thread that is left over ends by itself.
  names->answer("hangs", "10.0.0.1");
}

TEST_CASE("many threads ask for few names") {
  Fixture f;
  for (int i = 0; i < 4; ++i) f.names->answer("host" + std::to_string(i), "10.0.0.1");
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&f, &answered] {
      for (int i = 0; i < 200; ++i) {
        Told told;
        const NameService::Asker asker(f.service, "host" + std::to_string(i % 4),
                                       i % 2 == 0 ? configured : of_client, told.hear());
        if (i % 3 == 0) continue;  // and go away at once
        if (told.wait() == "10.0.0.1") ++answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(answered == 4 * 133);
}

}  // namespace
}  // namespace holdfast::net
