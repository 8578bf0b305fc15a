#include "holdfast/proxy/cluster_names.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

/// How long a look-up may take, and how soon one that failed is tried again.
constexpr Duration look_up_patience = std::chrono::seconds(5);
constexpr Duration look_up_pause = std::chrono::seconds(1);

}  // namespace

/// A request that waits for a look-up.
class ClusterNames::Wait {
 public:
  Wait(Name& name, runtime::Timers& timers) : name_(name), answered_(timers) {
    name_.waiting.push_back(&answered_);
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  ~Wait() { std::erase(name_.waiting, &answered_); }

  runtime::Signal& answered() { return answered_.signal(); }

 private:
  Name& name_;
  runtime::DeferredSignal answered_;
};

ClusterNames::ClusterNames(const UpstreamConfig& config, SharedEndpoints& endpoints,
                           runtime::Context& context, net::Resolver& resolver)
    : refresh_(config.dns_refresh), endpoints_(endpoints), context_(context), resolver_(resolver) {
  for (const EndpointConfig& endpoint : config.endpoints) {
    if (endpoint.endpoint.is_named()) names_.emplace_back(endpoint.endpoint);
  }
  if (!names_.empty()) next_look_up_ = TimePoint::min();
}

ClusterNames::~ClusterNames() {
  background_.cancel_all();
  HOLDFAST_ASSERT(
      std::ranges::all_of(names_, [](const Name& name) { return name.waiting.empty(); }));
}

ClusterNames::Name& ClusterNames::find(const net::Endpoint& endpoint) {
  const auto found = std::ranges::find_if(names_, [&](const Name& name) {
    return name.endpoint.host == endpoint.host && name.endpoint.port == endpoint.port;
  });
  HOLDFAST_ASSERT(found != names_.end());
  return *found;
}

void ClusterNames::begin_look_ups() {
  const TimePoint now = context_.now();
  for (Name& name : names_) {
    if (!name.asking && now >= name.next) begin_look_up(name, now);
  }
  plan();
}

/// Another worker may have asked meanwhile.
void ClusterNames::begin_look_up(Name& name, TimePoint now) {
  if (const auto known = endpoints_.known(name.text)) {
    name.addresses = known->addresses;
    name.ended = std::max(name.ended, known->at);
    name.next = after(known->at, refresh_);
    if (name.next > now) return;
    name.stale = after(name.ended, 2 * refresh_) < now;
  }
  name.asking = true;
  background_.spawn(look_up(name));
}

void ClusterNames::plan() {
  next_look_up_ = never;
  for (const Name& name : names_) {
    if (!name.asking) next_look_up_ = std::min(next_look_up_, name.next);
  }
}

runtime::Task<void> ClusterNames::look_up(Name& name) {
  const TimePoint deadline = after(context_.now(), look_up_patience);
  Result<std::vector<net::Address>> found =
      co_await resolver_.resolve(name.endpoint.host, name.endpoint.port, deadline);
  const TimePoint now = context_.now();
  name.asking = name.stale = false;
  name.ended = now;
  ++name.look_ups;
  if (found) {
    name.next = after(now, refresh_);
    name.addresses = std::move(*found);
    endpoints_.resolved(name.text, name.addresses, now);
  } else {
    name.next = after(now, std::min(look_up_pause, refresh_));
    name.error = std::move(found.error());
    endpoints_.not_found(name.text, name.error.detail, now);
  }
  plan();
  for (runtime::DeferredSignal* waiting : name.waiting) waiting->notify(now);
}

runtime::Task<Result<void>> ClusterNames::wait_for_answer(const net::Endpoint& endpoint,
                                                          TimePoint deadline) {
  Name& name = find(endpoint);
  if (name.addresses.empty()) {
    // Another worker, or what a reload has put in our place, may know while our look-up hangs.
    if (const auto known = endpoints_.known(name.text)) name.addresses = known->addresses;
  }
  if (!name.addresses.empty() && !name.stale) co_return Result<void>();
  Wait wait(name, context_.timers);
  const std::uint64_t before = name.look_ups;
  while (name.asking && name.look_ups == before) {
    const bool in_time = co_await runtime::wait_for(wait.answered(), context_.timers, deadline);
    if (!in_time) {
      co_return unexpected(
          Error{ErrorType::dns_timeout, "the name could not be looked up in time"});
    }
  }
  if (name.addresses.empty()) co_return unexpected(name.error);
  co_return Result<void>();
}

}  // namespace holdfast::proxy
