#include "tests/sim/wellness.h"

#include <utility>

namespace holdfast::sim {
namespace {

/// More than any upstream of a scenario has, named ones included.
constexpr int addresses_of_a_network = 50;

std::string plain_answer(std::string_view status) {
  return "HTTP/1.1 " + std::string(status) + " Said\r\nContent-Length: 0\r\n\r\n";
}

}  // namespace

Wellness::Wellness(const test::World& world, const Scenario& scenario, Ledger& ledger)
    : world_(world), scenario_(scenario), ledger_(ledger), chance_(scenario.seed ^ 0x5eed0008) {
  if (scenario.checks_health()) change();
}

void Wellness::change() {
  const auto before = std::exchange(ill_, {});
  const std::uint64_t share = chance_.one_of<std::uint64_t>({0, 30, 60, 100});
  for (const std::string& network : {std::string("10.0.0."), std::string(backup_network)}) {
    for (int i = 1; i < addresses_of_a_network; ++i) {
      const std::string address = network + std::to_string(i) + ":80";
      if (!chance_.percent(share)) continue;
      const auto known = before.find(address);
      ill_[address] = known != before.end() ? known->second : world_.now();
    }
  }
  ledger_.note("of the endpoints " + std::to_string(share) + " % are ill");
}

void Wellness::calm() {
  ill_.clear();
}

bool Wellness::is_check(std::string_view request) {
  return request.starts_with("GET " + std::string(health_path) + " ");
}

Wellness::Answer Wellness::answer(const std::string& address) {
  if (!ill_.contains(address)) return {plain_answer(chance_.one_of({"200", "204", "299"}))};
  switch (chance_.below(5)) {
    case 0:
      return {plain_answer(chance_.one_of({"302", "404", "429", "500", "503"}))};
    case 1:
      return {"well, well\r\n\r\n"};
    case 2:
      return {"HTTP/1.1 102 Processing\r\n\r\n", {}, chance_.percent(50)};
    case 3:
      return {"", {}, chance_.percent(50)};
    default: {
      Duration patience{};
      for (const auto& [name, upstream] : scenario_.config.upstreams) {
        patience = std::max(patience, upstream.health.timeout);
      }
      return {plain_answer("200"), patience + 1ms};
    }
  }
}

std::optional<TimePoint> Wellness::ill_since(const std::string& address) const {
  const auto found = ill_.find(address);
  return found == ill_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace holdfast::sim
