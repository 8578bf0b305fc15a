#include "tests/sim/judge.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/base/digest.h"
#include "holdfast/policy/idempotency_key.h"

namespace holdfast::sim {
namespace {

using testing::Event;

class Judge {
 public:
  Judge(const Scenario& scenario, Ledger& ledger) : scenario_(scenario), ledger_(ledger) {}

  void run() {
    ledger_.compare_counts();
    starts_are_few();
    bypasses_are_told();
    strangers_are_not_served();
    if (scenario_.generates_keys()) generated_keys_run_once();
    keys_keep_their_promises();
  }

 private:
  static std::string name(const Event& event) { return "#" + std::to_string(event.request); }

  /// A request without a key runs as often as its method allows; so does one whose key nobody could
  /// look at.
  void starts_are_few() {
    constexpr int fallbacks = 2;
    const int attempts = scenario_.plain_route().retry.attempts;
    for (const Event& event : ledger_.events()) {
      const bool guarded = !event.key.empty() && !ledger_.was_bypassed(event.request);
      if (event.kind != Event::Kind::send || guarded) continue;
      const bool once = event.payload.starts_with("POST");
      // Each attempt may meet a pooled connection that has closed, and be sent again.
      const int most = once ? 1 : 2 * (attempts + fallbacks);
      // A key that was generated is sent again where it was refused.
      const int starts = ledger_.runs_of(event.request);
      if (starts <= most) continue;
      ledger_.violated("retries", name(event) + " ran " + std::to_string(starts) + " times");
    }
  }

  /// Who is sent on without protection is told so, and nobody else is.
  void bypasses_are_told() {
    for (const Event& event : ledger_.events()) {
      if (event.kind != Event::Kind::receive) continue;
      const bool told = event.state == "bypassed";
      if (told == ledger_.was_bypassed(event.request)) continue;
      ledger_.violated("keys", name(event) + (told ? " was told of a bypass that is not counted"
                                                   : " was bypassed and not told"));
    }
  }

  /// Who has shaken no hands has asked for nothing. (Who has is told the truth over TLS as without:
  /// an end behind the last byte is close_notify, all else that ends is a cut, and a link makes a
  /// reset of it for who knows nothing of TLS: tls_link.h.)
  void strangers_are_not_served() {
    std::set<std::uint64_t> requests;
    for (const Event& event : ledger_.events()) {
      if (event.kind == Event::Kind::send && ledger_.is_strange(event.connection)) {
        requests.insert(event.request);
      }
      const bool served = event.kind == Event::Kind::start || event.kind == Event::Kind::receive;
      if (!served || !requests.contains(event.request)) continue;
      ledger_.violated("tls", name(event) + " was served, and its client is let in nowhere");
    }
  }

  // -- generated keys: requests of one content have one, for a while

  struct Start {
    const Event* event;
    const Run* run;
  };

  void generated_keys_run_once() {
    std::map<std::string, std::vector<Start>> starts;
    for (const Event& event : ledger_.events()) {
      if (event.kind == Event::Kind::send) sends_[event.request] = &event;
      if (event.kind == Event::Kind::receive) receives_[event.request] = &event;
      if (event.kind != Event::Kind::start || !is_generated(event)) continue;
      const Run* run = ledger_.run(event.run);
      if (!run->refused) starts[run->content].push_back({&event, run});
    }
    for (const auto& [content, all] : starts) {
      for (std::size_t i = 1; i < all.size(); ++i) check_again(all[i - 1], all[i]);
    }
  }

  bool is_generated(const Event& start) const {
    const Run* run = ledger_.run(start.run);
    return run->key.empty() && run->of_keyed_route && !run->at_backup &&
           !ledger_.was_bypassed(run->request);
  }

  void check_again(const Start& first, const Start& second) {
    const policy::IdempotencyOptions& options = scenario_.keys();
    const std::string what = "run " + std::to_string(second.event->run) +
                             " of what had run as run " + std::to_string(first.event->run);
    // A claim lives so long, and what was answered from then on. Before it was claimed it was sent.
    const Event& sent = *sends_.at(first.run->request);
    const auto claim_lives = options.max_execution + options.lease;
    // What was sent under an older claim may arrive when that has ended and its key has run again.
    const Event& sent_second = *sends_.at(second.run->request);
    if (sent_second.at + claim_lives <= first.event->at) return;
    const auto claim_ends = sent.at + claim_lives;
    // A store counts whole milliseconds.
    const auto answer_ends = first.event->at + options.auto_ttl - std::chrono::milliseconds(1);
    if (second.event->at < std::min(claim_ends, answer_ends)) ledger_.violated("I1", what);
    // Whoever comes after its answer was told is told the same until it has lived its time.
    const auto told = receives_.find(first.run->request);
    if (told == receives_.end() || !told->second->state.empty()) return;
    const bool later = sends_.at(second.run->request) > told->second;
    if (later && second.event->at < answer_ends) ledger_.violated("I8", what);
  }

  // -- keys

  void keys_keep_their_promises() {
    testing::Promises promises;
    const policy::IdempotencyOptions& options = scenario_.keys();
    promises.reexecutes = options.on_unknown == policy::OnUnknown::reexecute;
    promises.upstream_honours_key = options.upstream_honours_key;
    promises.store_may_fail = scenario_.store_may_fail();
    promises.store_may_fill = scenario_.store_may_fill();
    promises.largest_kept = options.max_response_bytes;
    promises.calm_within = std::chrono::seconds(10);  // queues of what was held up come first
    for (const testing::Violation& found : testing::check(guarded_events(), promises)) {
      // An answer that its store did not take is told again from memory, by its own process alone:
      // where unknown keys run again, another process may run this one, or be refused and free it.
      const bool told_by_one = promises.reexecutes && ledger_.was_unrecorded(id_of(found.key));
      const bool of_what_was_told =
          found.invariant == "I4" || found.invariant == "I6" || found.invariant == "I8";
      if (told_by_one && of_what_was_told) continue;
      ledger_.violated(found.invariant, found.key + ": " + found.what);
    }
  }

  /// All events; what was done without protection, as if it had had no key.
  std::vector<Event> guarded_events() const {
    std::vector<Event> events = ledger_.events();
    for (Event& event : events) {
      const bool done = event.kind == Event::Kind::start || event.kind == Event::Kind::refuse ||
                        event.kind == Event::Kind::respond || event.kind == Event::Kind::receive;
      if (done && ledger_.was_bypassed(event.request)) event.key.clear();
    }
    return events;
  }

  /// The beginning of the id of the record of "WHO:KEY", as holdfast tells it.
  std::string id_of(const std::string& identity) const {
    const policy::IdempotencyOptions& options = scenario_.keys();
    const std::size_t colon = identity.find(':');
    const std::string who = identity.substr(0, colon);
    const policy::Scope scope = policy::scope_of(
        options.scope, [&](std::string_view) { return std::vector<std::string_view>{who}; });
    const Digest id =
        policy::record_id(options.name_space, scope.digest, "POST", identity.substr(colon + 1));
    return hex(id).substr(0, 12);
  }

  const Scenario& scenario_;
  Ledger& ledger_;
  std::map<std::uint64_t, const Event*> sends_;
  std::map<std::uint64_t, const Event*> receives_;
};

}  // namespace

void judge(const Scenario& scenario, Ledger& ledger) {
  Judge(scenario, ledger).run();
}

}  // namespace holdfast::sim
