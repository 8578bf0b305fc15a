#include "tests/support/history.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

namespace holdfast::testing {
namespace {

using Kind = Event::Kind;
using Position = std::size_t;

/// One request of a client: where it was sent and where it ended.
struct Asked {
  Position sent = 0;
  std::optional<Position> ended;
};

/// One execution: where it started and where the upstream said what became of it.
struct Run {
  Position started = 0;
  std::optional<Position> ended;
};

/// The events, found by key, by request and by run.
struct Ledger {
  explicit Ledger(const std::vector<Event>& all) : events(all) {
    for (Position i = 0; i < all.size(); ++i) enter(i);
  }

  void enter(Position i) {
    const Event& event = events[i];
    if (!event.key.empty()) keys[event.key].push_back(i);
    switch (event.kind) {
      case Kind::send:
        requests[event.request].sent = i;
        break;
      case Kind::receive:
      case Kind::lost:
        requests[event.request].ended = i;
        break;
      case Kind::start:
        runs[event.run].started = i;
        break;
      case Kind::refuse:
      case Kind::respond:
        runs[event.run].ended = i;
        break;
      case Kind::outage_begins:
      case Kind::outage_ends:
      case Kind::calm:
        break;
    }
  }

  const Run* run(const Event& event) const {
    const auto found = runs.find(event.run);
    return event.run == 0 || found == runs.end() ? nullptr : &found->second;
  }
  const Event* end_of(const Event& event) const {
    const Run* its = run(event);
    return its == nullptr || !its->ended ? nullptr : &events[*its->ended];
  }
  bool refused(const Event& event) const {
    const Event* end = end_of(event);
    return end != nullptr && end->kind == Kind::refuse;
  }
  const Event* send_of(const Event& event) const {
    const auto found = requests.find(event.request);
    return found == requests.end() ? nullptr : &events[found->second.sent];
  }
  const Event* answer_to(const Event& event) const {
    const auto found = requests.find(event.request);
    if (found == requests.end() || !found->second.ended) return nullptr;
    const Event& end = events[*found->second.ended];
    return end.kind == Kind::receive ? &end : nullptr;
  }
  /// The answer says that the key has its answer for good.
  bool recorded(const Event& answer) const {
    return answer.run != 0 && (answer.replayed || (answer.state.empty() && !refused(answer)));
  }

  const std::vector<Event>& events;
  std::map<std::string, std::vector<Position>> keys;
  std::map<std::uint64_t, Asked> requests;
  std::map<std::uint64_t, Run> runs;
};

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

/// Why a request was not looked at: told of any key in any state.
bool could_not_look(const Event& answer) {
  return answer.run == 0 && one_of(answer.state, {"store-unavailable", "capacity"});
}

/// What clients were told of one key for good, and where.
struct Told {
  Position at;
  const Event* answer;
};

class Checker {
 public:
  Checker(const Ledger& ledger, const Promises& promises)
      : ledger_(ledger), events_(ledger.events), promises_(promises) {}

  std::vector<Violation> run() {
    for (const auto& [key, positions] : ledger_.keys) {
      key_ = key;
      positions_ = &positions;
      if (!promises_.reexecutes) at_most_one_start();
      told_ = first_told();
      const auto gone = first_gone();
      for (const Position i : positions) {
        const Event& event = events_[i];
        if (event.kind == Kind::start) {
          claimed_before_sent(event);
          released_with_proof(event);
          attempts_are_identical(event);
          not_during_an_outage(i);
        } else if (event.kind == Kind::receive) {
          comes_from_its_own_run(i);
          replays_what_was_answered(event);
          mismatch_has_a_reason(i);
          written_once(event);
          nothing_forgotten(event);
          if (gone) stays_gone(event, *gone);
        } else if (event.kind == Kind::lost) {
          valid_on_the_wire(event);
        } else if (event.kind == Kind::send) {
          is_answered(event);
        }
      }
    }
    calm_is_calm();
    return std::move(violations_);
  }

 private:
  void violated(std::string invariant, std::string what) {
    violations_.push_back({std::move(invariant), key_, std::move(what)});
  }
  static std::string number(const char* what, std::uint64_t n) {
    return std::string(what) + " " + std::to_string(n);
  }

  void at_most_one_start() {
    std::optional<std::uint64_t> open;
    for (const Position i : *positions_) {
      const Event& event = events_[i];
      if (event.kind == Kind::refuse && open == event.run) open.reset();
      if (event.kind != Kind::start) continue;
      if (open) {
        violated("I1", number("run", event.run) + " although " + number("run", *open) +
                           " was never refused");
      }
      open = event.run;
    }
  }

  void claimed_before_sent(const Event& start) {
    const Event* send = ledger_.send_of(start);
    if (send == nullptr || send > &start) {
      return violated("I2", number("run", start.run) + " of a request that nobody has sent");
    }
    const Event* answer = ledger_.answer_to(start);
    if (answer == nullptr || ledger_.refused(start)) return;
    const bool denies = answer->replayed || could_not_look(*answer) ||
                        one_of(answer->state, {"in-progress", "key-reused", "key-invalid"});
    if (denies) {
      violated("I2", number("run", start.run) + " of a request that was told " + answer->state);
    }
  }

  void released_with_proof(const Event& start) {
    const Event* answer = ledger_.answer_to(start);
    if (answer == nullptr || ledger_.refused(start)) return;
    if (one_of(answer->state, {"not-executed", "released"})) {
      violated("I10", number("run", start.run) + " was not refused, and its client was told " +
                          answer->state);
    }
  }

  void attempts_are_identical(const Event& start) {
    const Event* send = ledger_.send_of(start);
    if (send != nullptr && send->payload != start.payload) {
      violated("I12", number("run", start.run) + " got " + start.payload + ", the client sent " +
                          send->payload);
    }
  }

  void not_during_an_outage(Position at) {
    const Event* began = nullptr;
    for (Position i = 0; i < at; ++i) {
      if (events_[i].kind == Kind::outage_begins) began = &events_[i];
      if (events_[i].kind == Kind::outage_ends) began = nullptr;
    }
    if (began == nullptr) return;
    // A key that was claimed before may run on.
    const bool claimable = std::ranges::any_of(*positions_, [&](Position i) {
      return &events_[i] < began && events_[i].kind == Kind::send;
    });
    if (!claimable) {
      violated("I11", number("run", events_[at].run) + " while no claim could be acknowledged");
    }
  }

  /// I5, I9 and I16: an upstream's answer to this very request, or one of holdfast's own.
  void comes_from_its_own_run(Position at) {
    const Event& answer = events_[at];
    if (answer.run == 0) {
      if (answer.state.empty()) violated("I9", "an answer from nowhere: " + answer.body);
      const bool fallback = answer.state == "not-executed";
      if (answer.status < 300 && !fallback) {
        violated("I9", "a success that the upstream did not produce");
      }
      return;
    }
    const Run* run = ledger_.run(answer);
    if (run == nullptr || run->started > at) {
      return violated("I9", number("run", answer.run) + " never started");
    }
    const Event& start = events_[run->started];
    const Event* send = ledger_.send_of(answer);
    if (start.key != answer.key) {
      const bool swapped = std::ranges::any_of(events_, [&](const Event& other) {
        return other.kind == Kind::send && other.connection == answer.connection &&
               other.key == start.key;
      });
      return violated(swapped ? "I16" : "I5", "the answer to " + start.key);
    }
    if (send != nullptr && start.payload != send->payload) {
      violated("I5", "the answer to " + start.payload + ", the client sent " + send->payload);
    }
    const Event* end = ledger_.end_of(answer);
    if (end == nullptr || end > &answer) {
      return violated("I9", number("run", answer.run) + " has not answered");
    }
    if (end->status != answer.status || end->body != answer.body || end->head != answer.head) {
      violated(answer.replayed ? "I3" : "I9", "not what " + number("run", answer.run) + " said");
    }
    const bool own = start.request == answer.request;
    const bool said_again = answer.replayed || promises_.upstream_honours_key;
    if (!own && !said_again && answer.state != "released") {
      violated("I5", number("run", answer.run) + " was another request's");
    }
  }

  void replays_what_was_answered(const Event& answer) {
    if (answer.replayed && ledger_.refused(answer)) {
      violated("I3", "a refusal was replayed: " + number("run", answer.run));
    }
    if (answer.replayed != (answer.state == "replayed")) {
      violated("I3", "a replay that does not say so");
    }
    if (answer.state == "released" && !ledger_.refused(answer)) {
      violated("I10", number("run", answer.run) + " was released and never refused");
    }
  }

  void mismatch_has_a_reason(Position at) {
    const Event& answer = events_[at];
    if (answer.state != "key-reused") return;
    const Event* send = ledger_.send_of(answer);
    const bool reason = std::ranges::any_of(*positions_, [&](Position i) {
      return i < at && events_[i].kind == Kind::send && events_[i].payload != send->payload;
    });
    if (!reason) violated("I6", "no other request ever had this key");
  }

  std::optional<Told> first_told() const {
    for (const Position i : *positions_) {
      const Event& event = events_[i];
      if (event.kind == Kind::receive && ledger_.recorded(event)) return Told{i, &event};
    }
    return std::nullopt;
  }

  std::optional<Told> first_gone() const {
    for (const Position i : *positions_) {
      const Event& event = events_[i];
      const bool gone =
          event.kind == Kind::receive && event.state == "result-unavailable" && event.status == 409;
      if (gone) return Told{i, &event};
    }
    return std::nullopt;
  }

  void written_once(const Event& answer) {
    if (!told_ || !ledger_.recorded(answer)) return;
    if (answer.run != told_->answer->run) {
      violated("I4",
               number("run", answer.run) + ", and before it " + number("run", told_->answer->run));
    }
  }

  /// I8 and I6: what one client was told, all who ask later are told.
  void nothing_forgotten(const Event& answer) {
    if (!told_) return;
    const Event* send = ledger_.send_of(answer);
    if (send == nullptr || send < told_->answer || could_not_look(answer)) return;
    const Event* first = ledger_.send_of(*told_->answer);
    if (send->payload != first->payload) return told_mismatch(answer);
    if (answer.state == "key-reused") return violated("I6", "its own request was told 422");
    const bool kept = told_->answer->body.size() <= promises_.largest_kept;
    if (kept ? answer.replayed : answer.state == "result-unavailable") return;
    if (promises_.store_may_fail && one_of(answer.state, {"in-progress", "outcome-unknown"})) {
      return;
    }
    if (promises_.store_may_fill && answer.state == "result-unavailable") return;
    violated("I8", number("run", told_->answer->run) + " was told, then " +
                       number("request", answer.request) + " was told " + outcome(answer));
  }

  void stays_gone(const Event& answer, const Told& gone) {
    const Event* send = ledger_.send_of(answer);
    const Event* first = ledger_.send_of(*gone.answer);
    if (send == nullptr || send < gone.answer || could_not_look(answer)) return;
    if (send->payload != first->payload) return told_mismatch(answer);
    if (answer.state != "result-unavailable") {
      violated("I8", "it was gone, then " + number("request", answer.request) + " was told " +
                         outcome(answer));
    }
  }

  void told_mismatch(const Event& answer) {
    if (answer.state == "key-reused") return;
    violated("I6", "another request with this key was told " + outcome(answer));
  }

  static std::string outcome(const Event& answer) {
    return std::to_string(answer.status) + " " + answer.state;
  }

  void valid_on_the_wire(const Event& lost) {
    if (lost.fault == "malformed") violated("I16", "an answer that is no HTTP: " + lost.body);
    if (lost.fault == "timeout") {
      violated("I13", number("request", lost.request) + " was not answered");
    }
  }

  void is_answered(const Event& send) {
    if (!ledger_.requests.at(send.request).ended) {
      violated("I13", number("request", send.request) + " has no end");
    }
  }

  void calm_is_calm() {
    const auto calm = std::ranges::find(events_, Kind::calm, &Event::kind);
    if (calm == events_.end()) return;
    for (const Event& event : events_) {
      if (event.kind != Kind::receive) continue;
      const Event* send = ledger_.send_of(event);
      if (send == nullptr || send->at <= calm->at + promises_.calm_within) continue;
      const bool put_off =
          one_of(event.state, {"in-progress", "execution-pending", "store-unavailable"});
      const bool stuck = promises_.nothing_stays_unknown && event.state == "outcome-unknown";
      if (!put_off && !stuck) continue;
      key_ = event.key;
      violated("I13", number("request", event.request) + " was told " + event.state +
                          " long after the last fault");
    }
  }

  const Ledger& ledger_;
  const std::vector<Event>& events_;
  const Promises& promises_;
  std::string key_;
  const std::vector<Position>* positions_ = nullptr;
  std::optional<Told> told_;
  std::vector<Violation> violations_;
};

std::string_view name(Kind kind) {
  constexpr std::array<std::string_view, 9> names = {
      "client  send",   "client  receive", "client  lost",
      "upstream start", "upstream refuse", "upstream respond",
      "outage begins",  "outage ends",     "calm"};
  return names[static_cast<std::size_t>(kind)];
}

}  // namespace

void History::add(Event event) {
  const std::lock_guard lock(mutex_);
  event.at = SteadyClock::now() - began_;
  events_.push_back(std::move(event));
}

std::vector<Event> History::events() const {
  const std::lock_guard lock(mutex_);
  return events_;
}

std::vector<Violation> check(const std::vector<Event>& events, const Promises& promises) {
  const Ledger ledger(events);
  return Checker(ledger, promises).run();
}

std::string story(const std::vector<Event>& events, std::string_view key) {
  constexpr std::size_t shown = 60;  // of a body
  std::ostringstream text;
  for (const Event& event : events) {
    if (!event.key.empty() && event.key != key) continue;
    text << std::chrono::duration_cast<Milliseconds>(event.at).count() << " ms  "
         << name(event.kind);
    if (event.request != 0) text << "  request " << event.request;
    if (event.connection != 0) text << "  connection " << event.connection;
    if (event.run != 0) text << "  run " << event.run;
    if (event.status != 0) text << "  " << event.status;
    if (!event.state.empty()) text << "  [" << event.state << "]";
    if (!event.fault.empty()) text << "  (" << event.fault << ")";
    if (!event.payload.empty()) text << "  " << event.payload;
    if (!event.body.empty()) text << "  " << event.body.substr(0, shown);
    text << "\n";
  }
  return text.str();
}

}  // namespace holdfast::testing
