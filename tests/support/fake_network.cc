#include "tests/support/fake_network.h"

#include <algorithm>
#include <iterator>

#include "holdfast/base/assert.h"

namespace holdfast::test {
namespace {

/// One read shows at most so much, as the real network's does.
constexpr std::size_t read_size = 64 * 1024;
/// A world that is this busy at one moment does not come to rest.
constexpr int too_many_turns = 1'000'000;

template <class Outcome>
Outcome next_outcome(std::map<std::string, std::deque<Outcome>, std::less<>>& script,
                     const std::string& key,
                     const std::function<Outcome(const std::string&)>& otherwise) {
  const auto found = script.find(key);
  if (found == script.end() || found->second.empty()) return otherwise ? otherwise(key) : Outcome{};
  Outcome outcome = std::move(found->second.front());
  found->second.pop_front();
  return outcome;
}

}  // namespace

WallTime VirtualClock::wall_now() const {
  constexpr WallTime start{std::chrono::sys_days{std::chrono::January / 2 / 2026}};
  return start + now_.time_since_epoch() + wall_offset_;
}

// ----------------------------------------------------------------------------------------------
// World

World::World(std::uint64_t seed)
    : rng_(seed), context_{clock_, timers_, rng_, [this](std::function<void()> action) {
                             schedule(Duration::zero(), std::move(action));
                           }} {}

void World::schedule(Duration delay, std::function<void()> action) {
  actions_.emplace(after(now(), delay), std::move(action));
}

TimePoint World::next() const {
  return std::min(timers_.next(), actions_.empty() ? never : actions_.begin()->first);
}

void World::settle() {
  for (int turns = 0; next() <= now(); ++turns) {
    HOLDFAST_ASSERT(turns < too_many_turns);
    // As a loop's turn: the timers, then what had come by then; what follows from it is for the
    // next.
    timers_.run_due(now());
    for (auto due = std::distance(actions_.begin(), actions_.upper_bound(now())); due > 0; --due) {
      const std::function<void()> action = std::move(actions_.begin()->second);
      actions_.erase(actions_.begin());
      action();
    }
  }
  if (on_rest) on_rest();
}

void World::pass(Duration duration) {
  settle();
  const TimePoint until = after(now(), duration);
  while (next() <= until) step();
  clock_.set(std::max(now(), until));
}

bool World::step() {
  if (next() == never) return false;
  clock_.set(std::max(now(), next()));
  settle();
  return true;
}

// -----------------------------------------------------------------------------------------------
// Peer

void Peer::send(std::string_view bytes) {
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), read_size))) {
    arrive(Arrival::Kind::bytes, bytes.substr(0, read_size));
  }
}

void Peer::send_in_pieces(std::string_view bytes, std::size_t size) {
  for (std::size_t at = 0; at < bytes.size(); at += size) send(bytes.substr(at, size));
}

void Peer::finish() {
  arrive(Arrival::Kind::end, "");
}

void Peer::reset() {
  arrive(Arrival::Kind::reset, "");
}

void Peer::arrive(Arrival::Kind kind, std::string_view bytes) {
  arrivals_.push_back({kind, std::string(bytes), after(world_.now(), latency_)});
  world_.schedule(latency_, [self = shared_from_this()] { self->deliver_due(); });
}

// One arrival, if the stream takes it; what comes after FIN is met by a write only.
void Peer::deliver_due() {
  if (stream_ == nullptr || !has_due() || !stream_->reading_now_ || stream_->ended()) return;
  Arrival arrival = std::move(arrivals_.front());
  arrivals_.pop_front();
  switch (arrival.kind) {
    case Arrival::Kind::bytes:
      stream_->deliver(arrival.bytes);
      // The buffer of a read is another stream's in a moment.
      std::ranges::fill(arrival.bytes, '~');
      break;
    case Arrival::Kind::end:
      stream_->deliver_end();
      break;
    case Arrival::Kind::reset:
      stream_->deliver_reset();
      break;
  }
  if (has_due())
    world_.schedule(Duration::zero(), [self = shared_from_this()] { self->deliver_due(); });
}

void Peer::take_at_most(std::uint64_t bytes) {
  window_ = bytes;
  if (stream_ != nullptr) stream_->drain();
}

std::string Peer::take() {
  return received_.substr(std::exchange(taken_, received_.size()));
}

std::size_t Peer::unread() const {
  std::size_t size = 0;
  for (const Arrival& arrival : arrivals_) size += arrival.bytes.size();
  return size;
}

std::uint64_t Peer::take_from(std::string_view bytes) {
  const std::uint64_t size = std::min<std::uint64_t>(bytes.size(), window_);
  if (window_ != unlimited) window_ -= size;
  received_.append(bytes.substr(0, size));
  if (size > 0) tell_change();
  return size;
}

void Peer::stream_closed(bool aborted) {
  stream_ = nullptr;
  ended_ = closed_ = true;
  was_reset_ = aborted;
  tell_change();
}

void Peer::tell_change() {
  if (!on_change) return;
  world_.schedule(latency_, [self = shared_from_this()] {
    if (self->on_change) self->on_change();
  });
}

// ------------------------------------------------------------------------------------------
// FakeStream

FakeStream::FakeStream(World& world, std::shared_ptr<Peer> peer, const net::Address& address)
    : Stream(world.context().timers), world_(world), remote_(std::move(peer)) {
  peer_ = address;
  remote_->stream_ = this;
}

FakeStream::~FakeStream() {
  remote_->stream_closed(aborted_);
}

bool FakeStream::send(std::span<const std::string_view> pieces) {
  HOLDFAST_ASSERT(!sending_ && !finished_);
  if (failure()) return true;
  ++remote_->sends_;
  for (const std::string_view piece : pieces) {
    bytes_sent_ += piece.size();
    queued_.append(piece);
  }
  const auto is_reset = [](const Peer::Arrival& a) { return a.kind == Peer::Arrival::Kind::reset; };
  const bool broken =
      (ended() || !reading_now_) && std::ranges::any_of(remote_->arrivals_, is_reset);
  if (!broken) queued_.erase(0, remote_->take_from(queued_));
  sending_ = !queued_.empty();
  if (broken) {
    sending_ = true;
    world_.schedule(Duration::zero(), [peer = remote_] {
      if (peer->stream_ != nullptr) peer->stream_->deliver_reset();
    });
  }
  return !sending_;
}

// Called by the peer, which may be within the code under test: the end is told from the loop.
void FakeStream::drain() {
  if (queued_.empty()) return;
  queued_.erase(0, remote_->take_from(queued_));
  if (!queued_.empty()) return;
  world_.schedule(Duration::zero(), [peer = remote_] {
    if (peer->stream_ != nullptr) peer->stream_->drained();
  });
}

void FakeStream::drained() {
  if (queued_.empty() && sending_) deliver_sent();
}

void FakeStream::finish() {
  if (failure() || std::exchange(finished_, true)) return;
  remote_->ended_ = true;
  remote_->tell_change();
}

bool FakeStream::still_quiet() {
  return Stream::still_quiet() && !remote_->has_due();
}

void FakeStream::deliver_reset() {
  deliver_failure(Error{ErrorType::connection_terminated, "the peer has reset the connection"});
}

void FakeStream::set_reading(bool reading) {
  reading_now_ = reading;
  if (reading) world_.schedule(Duration::zero(), [peer = remote_] { peer->deliver_due(); });
}

FakePair make_pair(World& world, std::string_view address) {
  const auto where = net::Address::from_ip(address, 50000);
  HOLDFAST_ASSERT(where.has_value());
  auto peer = std::make_shared<Peer>(world);
  return {std::make_unique<FakeStream>(world, peer, *where), peer};
}

// -----------------------------------------------------------------------------------------
// FakeNetwork

void FakeNetwork::script(std::string_view address, ConnectOutcome outcome) {
  connect_script_[std::string(address)].push_back(outcome);
}

void FakeNetwork::script_name(std::string_view host, LookUpOutcome outcome) {
  look_up_script_[std::string(host)].push_back(std::move(outcome));
}

runtime::Task<Result<std::unique_ptr<net::Stream>>> FakeNetwork::connect(
    const net::Address& address, TimePoint deadline) {
  connects.push_back(address.text());
  const ConnectOutcome outcome = next_outcome(connect_script_, connects.back(), on_connect);
  const bool silent = outcome.kind == ConnectOutcome::Kind::silence;
  const TimePoint end = silent ? never : after(world_.now(), outcome.delay);
  const TimePoint wake = std::min(end, deadline);
  runtime::Signal nothing;
  co_await runtime::wait_for(nothing, world_.context().timers, wake);
  if (end > deadline || silent) {
    co_return unexpected(Error{ErrorType::connection_timeout, "no answer to the connect"});
  }
  if (outcome.kind == ConnectOutcome::Kind::fail) {
    co_return unexpected(Error{outcome.error, "the connect was refused"});
  }
  auto peer = std::make_shared<Peer>(world_);
  peer->address = address.text();
  accepted.push_back(peer);
  std::unique_ptr<net::Stream> stream = std::make_unique<FakeStream>(world_, peer, address);
  if (on_accept) {
    world_.schedule(Duration::zero(), [this, peer] { on_accept(*peer); });
  }
  co_return Result<std::unique_ptr<net::Stream>>(std::move(stream));
}

runtime::Task<Result<std::vector<net::Address>>> FakeNetwork::resolve(std::string_view host,
                                                                      std::uint16_t,
                                                                      TimePoint deadline) {
  look_ups.emplace_back(host);
  LookUpOutcome outcome = next_outcome(look_up_script_, look_ups.back(), on_look_up);
  const TimePoint end = after(world_.now(), outcome.delay);
  const TimePoint wake = std::min(end, deadline);
  co_await runtime::sleep_until(world_.context().timers, wake);
  if (end > deadline) {
    co_return unexpected(Error{ErrorType::dns_timeout, "no answer about the name"});
  }
  if (outcome.addresses.empty()) {
    co_return unexpected(Error{outcome.error, "the name is not known"});
  }
  co_return std::move(outcome.addresses);
}

}  // namespace holdfast::test
