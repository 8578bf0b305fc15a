#include "tests/sim/names.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::sim {
namespace {

constexpr int addresses_of_a_name = 4;
/// How soon a look-up that failed may be tried again, at the latest.
constexpr Duration failure_pause = 1s;
constexpr Duration slack = 20ms;
constexpr Duration longest_exchange = 10s;

/// How long a connect that began with one answer may go on with it.
Duration connect_limit(const Scenario& scenario) {
  Duration longest{};
  for (const proxy::RouteConfig& route : scenario.config.routes) {
    longest = std::max(longest, *route.timeout.connect);
  }
  return longest + scenario.pauses + slack;
}

}  // namespace

NameServer::NameServer(test::World& world, test::FakeNetwork& network, const Scenario& scenario,
                       Ledger& ledger)
    : world_(world),
      network_(network),
      scenario_(scenario),
      ledger_(ledger),
      chance_(scenario.seed ^ 0x5eed0006) {
  network.on_look_up = [this](const std::string& host) { return look_up(host); };
  int number = 0;
  for (const auto& [name, upstream] : scenario.config.upstreams) {
    for (const proxy::EndpointConfig& endpoint : upstream.endpoints) {
      if (!endpoint.endpoint.is_named()) continue;
      const std::string& host = endpoint.endpoint.host;
      upstreams_[host] = name;
      const std::string network_of = name == "api" ? "10.0.0." : std::string(backup_network);
      ++number;
      for (int i = 1; i <= addresses_of_a_name; ++i) {
        const std::string ip = network_of + std::to_string(10 * number + i);
        const auto address = net::Address::from_ip(ip, endpoint.endpoint.port);
        HOLDFAST_ASSERT(address.has_value());
        addresses_[host].push_back(*address);
      }
      told_[host] = some_addresses(host);
    }
  }
  change_mood();
}

NameServer::~NameServer() = default;

std::unique_ptr<NameServer::Reach> NameServer::open(const std::string& process) {
  return std::make_unique<Reach>(*this, process);
}

bool NameServer::knew_all(const std::string& process, const std::string& upstream,
                          TimePoint when) const {
  if (serves_earlier_configuration()) return false;
  const auto found = reaches_.find(process);
  if (found == reaches_.end()) return false;
  const auto knew = [&](const Reach* reach, const std::string& host) {
    const auto known = reach->known_.find(host);
    return known != reach->known_.end() && !known->second.answers.empty() &&
           known->second.answers.front().at < when;
  };
  return std::ranges::all_of(upstreams_, [&](const auto& entry) {
    const auto& [host, its_upstream] = entry;
    return its_upstream != upstream || std::ranges::all_of(found->second, [&](const Reach* reach) {
             return knew(reach, host);
           });
  });
}

bool NameServer::serves_earlier_configuration() const {
  return reloaded_ && *reloaded_ + longest_exchange > world_.now();
}

void NameServer::change_mood() {
  if (addresses_.empty()) return;
  const bool well = chance_.percent(40);
  mood_ =
      well ? Mood::well : chance_.one_of({Mood::slow, Mood::late, Mood::failing, Mood::flapping});
  trouble_ = chance_.number(30, 100);
  dead_.clear();
  for (const auto& [host, addresses] : addresses_) {
    told_[host] = some_addresses(host);
    for (const net::Address& address : addresses) {
      if (chance_.percent(20)) dead_.insert(address.text());
    }
  }
  ledger_.note("the name server's mood is " + std::to_string(static_cast<int>(mood_)) +
               ", trouble " + std::to_string(trouble_) + " %");
}

void NameServer::calm() {
  calm_ = true;
  dead_.clear();
}

std::vector<net::Address> NameServer::some_addresses(const std::string& host) {
  std::vector<net::Address> some = addresses_.at(host);
  for (std::size_t i = some.size(); i > 1; --i) std::swap(some[i - 1], some[chance_.below(i)]);
  some.resize(chance_.number(1, some.size()));
  return some;
}

test::LookUpOutcome NameServer::look_up(const std::string& host) {
  test::LookUpOutcome outcome;
  const auto& addresses = told_.at(host);
  outcome.addresses = addresses;
  if (calm_) return outcome;
  outcome.delay = chance_.between(0ms, 3ms);
  if (mood_ == Mood::slow && bad()) outcome.delay = chance_.between(1ms, 800ms);
  if (mood_ == Mood::late && bad()) outcome.delay = chance_.between(500ms, 8s);
  if (mood_ == Mood::flapping && bad()) outcome.addresses = some_addresses(host);
  if (mood_ == Mood::failing && bad()) outcome.addresses.clear();
  return outcome;
}

std::string NameServer::host_of(const net::Address& address) const {
  for (const auto& [host, addresses] : addresses_) {
    if (std::ranges::find(addresses, address) != addresses.end()) return host;
  }
  return "";
}

void NameServer::check(const Reach& reach, const net::Address& address) const {
  const std::string host = host_of(address);
  if (host.empty()) return;
  const auto violated = [&](const std::string& what) {
    ledger_.violated("names", reach.process_ + " connects to " + address.text() + what);
  };
  const auto found = reach.known_.find(host);
  if (found == reach.known_.end() || found->second.answers.empty()) {
    return violated(", and nobody has named it");
  }
  const Known& known = found->second;
  // Of each answer: when it was replaced.
  const Duration limit = connect_limit(scenario_);
  TimePoint replaced = never;
  bool named = false;
  for (auto answer = known.answers.rbegin(); answer != known.answers.rend() && !named; ++answer) {
    if (replaced != never && replaced + limit < world_.now()) break;
    named = std::ranges::find(answer->addresses, address) != answer->addresses.end();
    replaced = answer->at;
  }
  if (!named && !serves_earlier_configuration())
    violated(", which is no longer an address of " + host);
  const Duration refresh = scenario_.config.upstreams.at(upstreams_.at(host)).dns_refresh;
  const TimePoint last = std::max(known.asked, known.answers.back().at);
  if (known.pending == 0 && last + refresh + failure_pause + limit < world_.now()) {
    violated(", and has not asked for " + host + " for too long");
  }
}

// ----------------------------------------------------------------------------------------------
// Reach

NameServer::Reach::Reach(NameServer& owner, std::string process)
    : owner_(owner), process_(std::move(process)) {
  owner_.reaches_[process_].push_back(this);
}

NameServer::Reach::~Reach() {
  std::erase(owner_.reaches_[process_], this);
}

runtime::Task<Result<std::unique_ptr<net::Stream>>> NameServer::Reach::connect(
    const net::Address& address, TimePoint deadline) {
  owner_.check(*this, address);
  return owner_.network_.connect(address, deadline);
}

runtime::Task<Result<std::vector<net::Address>>> NameServer::Reach::resolve(std::string_view host,
                                                                            std::uint16_t port,
                                                                            TimePoint deadline) {
  Known& known = known_[std::string(host)];
  known.asked = owner_.world_.now();
  ++known.pending;
  Result<std::vector<net::Address>> found = co_await owner_.network_.resolve(host, port, deadline);
  --known.pending;
  if (found) known.answers.push_back({owner_.world_.now(), *found});
  owner_.ledger_.note(process_ + ": " + std::string(host) + " is " +
                      (found ? std::to_string(found->size()) + " addresses" : "not known"));
  co_return found;
}

}  // namespace holdfast::sim
