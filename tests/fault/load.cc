#include "tests/fault/load.h"

#include <algorithm>
#include <memory>

namespace holdfast::testing {
namespace {

constexpr std::size_t remembered = 100'000;

std::string next_target() {
  static std::atomic<int> next = 0;
  return "/" + std::to_string(++next);
}

}  // namespace

CountingApp::CountingApp(Milliseconds delay, std::string_view address)
    : server_(
          [this, delay](Exchange& exchange) {
            if (exchange.request.method == "POST") note_run(exchange.request.target);
            if (delay > 0ms) std::this_thread::sleep_for(delay);
            exchange.respond(201, exchange.request.target);
          },
          BodyReading::first, address) {
  server_.remember(1);
}

void CountingApp::note_run(const std::string& target) {
  const std::lock_guard lock(mutex_);
  const int runs = ++runs_[target];
  if (runs == 2) ++run_twice_;
  if (runs > 1) return;
  in_order_.push_back(target);
  if (in_order_.size() <= remembered) return;
  runs_.erase(in_order_.front());
  in_order_.pop_front();
}

int CountingApp::runs(const std::string& target) const {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(target);
  return found == runs_.end() ? 0 : found->second;
}

int CountingApp::run_twice() const {
  const std::lock_guard lock(mutex_);
  return run_twice_;
}

int Tally::of(const std::string& outcome) const {
  const auto found = outcomes.find(outcome);
  return found == outcomes.end() ? 0 : found->second;
}

int Tally::total() const {
  int sum = 0;
  for (const auto& [outcome, count] : outcomes) sum += count;
  return sum;
}

std::string Tally::text() const {
  std::string text;
  for (const auto& [outcome, count] : outcomes) {
    text += (text.empty() ? "" : ", ") + outcome + ": " + std::to_string(count);
  }
  return text;
}

Load::Load(std::string address, Ask ask, int clients, Milliseconds pause)
    : address_(std::move(address)), ask_(ask), pause_(pause) {
  for (int n = 0; n < clients; ++n) clients_.emplace_back([this] { be_a_client(); });
}

Load::~Load() {
  stop();
}

void Load::stop() {
  stopping_ = true;
  for (std::thread& client : clients_) client.join();
  clients_.clear();
}

Tally Load::take() {
  const std::lock_guard lock(mutex_);
  since_ = SteadyClock::now();
  return std::exchange(tally_, {});
}

void Load::let_pass(int requests) {
  const auto total = [this] {
    const std::lock_guard lock(mutex_);
    return ever_.total();
  };
  const int enough = total() + requests;
  CHECK(eventually([&] { return total() >= enough; }));
}

bool Load::wait_for(const std::string& outcome, Milliseconds within) {
  const auto count = [&] {
    const std::lock_guard lock(mutex_);
    return ever_.of(outcome);
  };
  const int before = count();
  return eventually([&] { return count() > before; }, within);
}

std::vector<std::string> Load::acknowledged() const {
  const std::lock_guard lock(mutex_);
  return {acknowledged_.begin(), acknowledged_.end()};
}

void Load::be_a_client() {
  std::unique_ptr<RawClient> client;
  while (!stopping_) {
    const std::string target = next_target();
    const Stopwatch watch;
    std::string outcome = "lost";
    try {
      if (!client) client = std::make_unique<RawClient>(address_);
      outcome = ask_once(*client, target);
    } catch (const WireError&) {  // it does not listen, or went away
    }
    if (outcome == "lost") client.reset();
    note(target, outcome, watch.elapsed());
    std::this_thread::sleep_for(pause_);
  }
}

std::string Load::ask_once(RawClient& client, const std::string& target) {
  const std::string method = ask_ == Ask::get ? "GET" : "POST";
  const Headers headers = ask_ == Ask::keyed ? key_of(target) : Headers{};
  const Response response =
      client.request(method, target, headers, ask_ == Ask::get ? "" : "order");
  if (!response.complete) return "lost";
  if (response.status == 201 && response.body != target) return "wrong";
  const std::string state = response.headers.get("Idempotency-Status");
  if (state == "unrecorded") return state;
  return std::to_string(response.status);
}

void Load::note(const std::string& target, const std::string& outcome, Milliseconds took) {
  const std::lock_guard lock(mutex_);
  ++ever_.outcomes[outcome];
  if (SteadyClock::now() - took - 1ms >= since_) {
    ++tally_.outcomes[outcome];
    tally_.slowest = std::max(tally_.slowest, took);
  }
  if (ask_ != Ask::keyed || outcome != "201") return;
  acknowledged_.push_back(target);
  if (acknowledged_.size() > remembered) acknowledged_.pop_front();
}

Headers key_of(const std::string& target) {
  return {{"Idempotency-Key", target}, {"Authorization", "alice"}};
}

int forgotten(const Holdfast& holdfast, const std::vector<std::string>& acknowledged) {
  RawClient client = holdfast.client();
  return static_cast<int>(std::ranges::count_if(acknowledged, [&](const std::string& target) {
    const Response response = client.post(target, "order", key_of(target));
    return response.status != 201 || response.body != target ||
           response.headers.get("Idempotent-Replayed") != "true";
  }));
}

}  // namespace holdfast::testing
