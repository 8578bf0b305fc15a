// History: what clients and the upstream saw of keyed requests, in one order, and whether that
// keeps what [route.idempotency] promises.
//
// A recorder takes the events of many threads; check() reads them afterwards. The upstream tells
// `start`, `refuse` and `respond` before its answer goes out, a client tells `send` before its
// first byte and `receive` after the last one: so an event that caused another stands before it.
//
// Contract: check() is pure, and names each broken invariant as the specification does (I1 to I16).
// What it cannot see from outside it does not judge: the store's own transitions (I7, I14) and
// traffic without a key (I15) have tests of their own. Thread-safe: History.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/eventually.h"

namespace holdfast::testing {

struct Event {
  enum class Kind {
    send,           // a client: request, key, payload, connection
    receive,        // a client has the whole answer: the same, and all below
    lost,           // a client will get none: `fault` says why
    start,          // the upstream has the whole request: run, request, key, payload
    refuse,         // ... and did nothing, and says so: run, status, body
    respond,        // ... and did it, and says so: run, status, body
    outage_begins,  // no replica can reach its store
    outage_ends,
    calm  // no more faults; the upstream answers at once
  };
  Kind kind = Kind::send;
  std::string key = {};       // who asks, and the key
  std::uint64_t request = 0;  // the client's number of it
  std::string payload = {};   // the method, target, key and body that were sent or came
  std::uint64_t run = 0;      // the upstream's number of a start; of an answer: which it names
  int status = 0;
  std::string state = {};  // Idempotency-Status
  bool replayed = false;   // Idempotent-Replayed: true
  std::string head = {};   // fields of the answer that are kept
  std::string body = {};
  std::uint64_t connection = 0;   // the client's number of it
  std::string fault = {};         // "aborted" (by the client), "reset", "timeout", "malformed", ...
  SteadyClock::duration at = {};  // since the beginning
};

class History {
 public:
  void add(Event event);
  std::vector<Event> events() const;

 private:
  const SteadyClock::time_point began_ = SteadyClock::now();
  mutable std::mutex mutex_;
  std::vector<Event> events_;
};

/// What the replicas were configured to promise.
struct Promises {
  /// on_unknown = "reexecute": a key whose outcome is unknown may run again.
  bool reexecutes = false;
  /// The upstream runs a key once, whoever asks, and says the same again.
  bool upstream_honours_key = false;
  /// A completion may be lost with the process that could not write it: what it told meanwhile can
  /// become unknown. It can become nothing else.
  bool store_may_fail = false;
  /// An answer that the store had no room for is told from memory for a while, then only that it is
  /// done.
  bool store_may_fill = false;
  /// Owners live on and the upstream answers all: so long after `calm` nothing is unknown any more.
  bool nothing_stays_unknown = false;
  /// max_response_bytes: a larger answer is told once.
  std::size_t largest_kept = 1 << 20;
  /// So long after `calm` nobody is told to come back later.
  Milliseconds calm_within{5000};
};

struct Violation {
  std::string invariant;  // "I1"
  std::string key;
  std::string what;
};

std::vector<Violation> check(const std::vector<Event>& events, const Promises& promises = {});

/// The events of one key, a line for each.
std::string story(const std::vector<Event>& events, std::string_view key);

}  // namespace holdfast::testing
