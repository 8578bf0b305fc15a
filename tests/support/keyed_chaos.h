// KeyedChaos: replicas of the real binary that share a store, an upstream that tells what it did
// before it answers, clients that repeat the same few keys, and faults in between.
//
// Contract: everything that chance decides comes from the seed; what the machine's scheduling makes
// of it does not, so a seed repeats the plan and not each interleaving. run() ends with a calm: no
// fault any more, and every key asked of every replica until nobody says "later". Nothing here
// judges: the history is for check().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fault_link.h"
#include "tests/support/history.h"
#include "tests/support/holdfast_process.h"
#include "tests/support/redis_server.h"
#include "tests/support/scripted_upstream.h"

namespace holdfast::testing {

/// Chance, from a seed.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  /// Even over [0, bound). REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }
  Milliseconds between(Milliseconds least, Milliseconds most) {
    const auto width = static_cast<std::uint64_t>((most - least).count()) + 1;
    return least + Milliseconds(static_cast<Milliseconds::rep>(below(width)));
  }
  template <typename T>
  const T& one_of(const std::vector<T>& all) {
    return all[below(all.size())];
  }

 private:
  std::mt19937_64 engine_;
};

/// What is done to the system in one step.
enum class Trouble {
  none,                // a while of undisturbed traffic
  kill,                // SIGKILL of a replica, and a new one on the same files
  stop,                // SIGSTOP for 0.5 to 3 leases
  reload,              // SIGHUP
  store_cut,           // connections to the store are reset
  store_stall,         // nothing passes to the store, nor back
  store_delay,         // the store's answers come late, some too late
  store_lost_answers,  // the store does it, and its answer never comes
  store_outage,        // nobody reaches the store
  client_pause,        // CLIENT PAUSE
  script_flush,        // SCRIPT FLUSH
  upstream_refuses,    // connections to the upstream are refused
  upstream_cut,        // ... are reset
  upstream_half_close  // ... end at once, and what is sent is read all the same
};

/// What the upstream does with a request.
namespace behaviour {
inline const std::string ok = "ok";
inline const std::string slow = "slow";    // within max_execution, not within each timeout
inline const std::string stuck = "stuck";  // longer than max_execution
inline const std::string read_close = "read-close";  // the end of the connection, no answer
inline const std::string half_body = "half-body";
inline const std::string garbage = "garbage";  // no HTTP
inline const std::string refuse_429 = "429";
inline const std::string refuse_503 = "503-retry-after";
inline const std::string fail_503 = "503";
inline const std::string fail_500 = "500";
inline const std::string oversize = "oversize";  // more than is kept
}  // namespace behaviour

struct ChaosPlan {
  std::string store = "redis";
  std::size_t replicas = 2;
  std::size_t clients = 6;
  int steps = 30;
  std::vector<Trouble> troubles;        // one of them for each step
  std::vector<std::string> behaviours;  // one of them for each request
  /// Nothing that is done here may leave an outcome unknown for good: the calm waits for that.
  bool heals = false;
  std::string idempotency = "";  // more keys of [route.idempotency]
  /// Before the first replica starts: changes what passes to the store and to the upstream.
  std::function<void(FaultLink& store, FaultLink& upstream)> prepare = {};
};

class KeyedChaos {
 public:
  static constexpr Milliseconds lease{300};
  static constexpr Milliseconds max_execution{1000};
  static constexpr std::size_t largest_kept = 2048;

  KeyedChaos(const ChaosPlan& plan, std::uint64_t seed);
  ~KeyedChaos();
  KeyedChaos(const KeyedChaos&) = delete;
  KeyedChaos& operator=(const KeyedChaos&) = delete;

  void run();

  std::vector<Event> events() const { return history_.events(); }
  int kills() const { return kills_; }

 private:
  /// One request of a client.
  struct Question {
    std::uint64_t request = 0;
    std::string who;
    std::string key;
    std::string body;
    std::string behaviour;
  };

  Setup setup(std::size_t replica) const;
  void answer(Exchange& exchange);
  void behave(Exchange& exchange, Event event, const std::string& behaviour);

  void be_a_client(std::uint64_t seed);
  void ask_once(Dice& dice);
  Question draw_question(Dice& dice);
  std::string tell_send(const Question& question, std::uint64_t connection);
  void tell_lost(const Question& question, std::uint64_t connection, std::string fault,
                 std::string detail = "");
  Response tell_answer(RawClient& client, const Question& question, std::uint64_t connection);

  void trouble();
  void trouble_a_replica(Trouble what);
  void trouble_the_store(Trouble what);
  void trouble_the_upstream(Trouble what);
  void pause(Milliseconds least, Milliseconds most);
  void store_outage();
  void calm_down();
  bool settled(const std::string& key, const Holdfast& replica);

  const ChaosPlan plan_;
  Dice dice_;
  History history_;
  std::optional<RedisServer> redis_;
  ScriptedUpstream upstream_;
  FaultLink upstream_link_;
  std::optional<FaultLink> store_link_;
  std::vector<std::unique_ptr<Holdfast>> replicas_;
  std::atomic<std::uint64_t> requests_ = 0;
  std::atomic<std::uint64_t> connections_ = 0;
  std::atomic<std::uint64_t> runs_ = 0;
  std::atomic<std::uint64_t> hottest_ = 0;  // the first of the keys that are asked for most
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> clients_;
  int kills_ = 0;
};

}  // namespace holdfast::testing
