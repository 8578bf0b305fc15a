#include "tests/sim/ledger.h"

#include <algorithm>
#include <iomanip>
#include <sstream>
#include <utility>

namespace holdfast::sim {
namespace {

constexpr std::size_t body_shown = 48;

std::string_view name(testing::Event::Kind kind) {
  constexpr std::string_view names[] = {
      "client sends",    "client receives",  "client gets none",
      "upstream starts", "upstream refuses", "upstream says",
      "outage begins",   "outage ends",      "no more faults now"};
  return names[static_cast<std::size_t>(kind)];
}

void describe(std::ostream& out, const testing::Event& event) {
  out << name(event.kind);
  if (event.request != 0) out << " #" << event.request;
  if (event.connection != 0) out << " on connection " << event.connection;
  if (event.run != 0) out << " run " << event.run;
  if (!event.key.empty()) out << " key " << event.key;
  if (event.status != 0) out << " " << event.status;
  if (!event.state.empty()) out << " [" << event.state << "]";
  if (!event.fault.empty()) out << " (" << event.fault << ")";
  if (!event.payload.empty()) out << " | " << event.payload.substr(0, body_shown);
  if (!event.body.empty()) out << " | " << event.body.substr(0, body_shown);
}

}  // namespace

void Ledger::add(testing::Event event) {
  if (event.kind == testing::Event::Kind::send) {
    asked_[event.request] = world_.now();
    payloads_[event.request] = event.payload;
  }
  event.at = std::chrono::duration_cast<decltype(event.at)>(elapsed());
  lines_.push_back({elapsed(), events_.size(), ""});
  events_.push_back(std::move(event));
}

void Ledger::note(std::string_view what) {
  lines_.push_back({elapsed(), std::nullopt, std::string(what)});
}

void Ledger::violated(std::string_view rule, std::string_view what) {
  std::string text(rule);
  text.append(": ").append(what);
  note("VIOLATED " + text);
  violations_.push_back(std::move(text));
}

Run& Ledger::new_run(std::uint64_t request, const std::string& key) {
  const std::uint64_t number = runs_.size() + 1;
  return runs_.emplace(number, Run{.number = number, .request = request, .key = key}).first->second;
}

const Run* Ledger::run(std::uint64_t number) const {
  const auto found = runs_.find(number);
  return found == runs_.end() ? nullptr : &found->second;
}

int Ledger::runs_of(std::uint64_t request) const {
  return static_cast<int>(std::ranges::count_if(runs_, [&](const auto& entry) {
    const Run& run = entry.second;
    return run.request == request && !(run.of_keyed_route && run.refused);
  }));
}

bool Ledger::was_bypassed(std::uint64_t request) const {
  const auto found = outcomes_.find(request);
  return found != outcomes_.end() && found->second == "bypassed";
}

void Ledger::compare_counts() {
  for (const auto& [status, count] : heard_) {
    if (count <= told_[status]) continue;
    violated("metrics", std::to_string(count) + " answers with status " + std::to_string(status) +
                            ", counted: " + std::to_string(told_[status]));
  }
}

std::string Ledger::text() const {
  std::ostringstream out;
  for (const Line& line : lines_) {
    out << std::setw(12) << std::fixed << std::setprecision(3) << to_milliseconds(line.at)
        << " ms  ";
    if (line.event) {
      describe(out, events_[*line.event]);
    } else {
      out << line.note;
    }
    out << "\n";
  }
  return out.str();
}

}  // namespace holdfast::sim
