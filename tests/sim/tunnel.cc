#include "tests/sim/tunnel.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tests/sim/reading.h"

namespace holdfast::sim {
namespace {

constexpr Duration slack = 20ms;

/// The byte at that place of a direction.
char byte_at(const Tunnel& tunnel, TunnelEnd::Side from, std::uint64_t at) {
  const std::uint64_t salt = tunnel.run * 5 + (from == TunnelEnd::Side::client ? 0 : 13);
  return static_cast<char>('a' + (at * 7 + at / 26 + salt) % 26);
}

TunnelEnd::Side other(TunnelEnd::Side side) {
  return side == TunnelEnd::Side::client ? TunnelEnd::Side::upstream : TunnelEnd::Side::client;
}

}  // namespace

TunnelEnd::TunnelEnd(test::World& world, const Scenario& scenario, Ledger& ledger,
                     std::uint64_t seed, std::shared_ptr<test::Peer> peer, Tunnel& tunnel,
                     Side side, TimePoint asked)
    : world_(world),
      scenario_(scenario),
      ledger_(ledger),
      chance_(seed),
      peer_(std::move(peer)),
      tunnel_(tunnel),
      side_(side),
      own_(side == Side::client ? tunnel.client : tunnel.upstream),
      far_(side == Side::client ? tunnel.upstream : tunnel.client),
      asked_(asked) {}

void TunnelEnd::violated(const std::string& what) {
  ledger_.violated("tunnel", std::string(side_ == Side::client ? "the client" : "the upstream") +
                                 " of run " + std::to_string(tunnel_.run) + " " + what);
}

void TunnelEnd::begin(std::string_view came) {
  began_ = world_.now();
  own_.begun = true;
  own_.last = world_.now();
  take(came);
  plan_reading();
  plan_speech();
  read();
}

void TunnelEnd::plan_speech() {
  Duration at{};
  const Duration idle = *scenario_.plain_route().timeout.idle;
  for (std::uint64_t n = chance_.below(7); n > 0; --n) {
    const std::size_t size =
        chance_.percent(5) ? 60'000 + chance_.below(20'000) : 1 + chance_.below(600);
    world_.schedule(at, [this, size] { say(size); });
    at += chance_.percent(5) ? 2 * idle : chance_.between(0us, idle * 3 / 4);
  }
  if (chance_.percent(60)) {
    world_.schedule(at, [this] { finish(); });
  } else if (chance_.percent(40)) {
    world_.schedule(chance_.between(0us, at + 50ms), [this] { reset(); });
  }  // else it falls silent
}

/// At once, in sips, or never more than a little.
void TunnelEnd::plan_reading() {
  if (!chance_.percent(30)) return;
  if (chance_.percent(25)) return peer_->take_at_most(chance_.below(400));
  read_in_sips(world_, peer_, chance_, *scenario_.plain_route().timeout.idle * 3 / 4);
}

void TunnelEnd::say(std::size_t size) {
  if (own_.finished || own_.reset || !peer_->open()) return;
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += byte_at(tunnel_, side_, own_.sent + i);
  own_.sent += size;
  own_.last = world_.now();
  peer_->send_in_pieces(text, 1 + chance_.below(size));
}

void TunnelEnd::finish() {
  if (own_.finished || own_.reset || !peer_->open()) return;
  own_.finished = true;
  own_.last = world_.now();
  peer_->finish();
}

void TunnelEnd::reset() {
  if (own_.reset || !peer_->open()) return;
  own_.reset = over_ = true;
  peer_->reset();
}

void TunnelEnd::read() {
  if (over_) return;
  take(peer_->take());
  if (peer_->ended()) ended();
}

void TunnelEnd::take(std::string_view bytes) {
  if (bytes.empty()) return;
  own_.last = own_.moved = world_.now();
  for (const char byte : bytes) {
    const std::uint64_t at = own_.received++;
    if (at < far_.sent && byte == byte_at(tunnel_, other(side_), at)) continue;
    over_ = true;
    return violated("has a byte at " + std::to_string(at) + " that nobody sent there");
  }
}

void TunnelEnd::ended() {
  over_ = true;
  // Whoever was stopped in the middle told nobody anything.
  const bool stopped = ledger_.last_stop() >= asked_;
  const bool whole = far_.finished && own_.received == far_.sent;
  if (!peer_->was_reset() && !whole && !stopped && far_.begun) {
    violated("was told of an end after " + std::to_string(own_.received) + " bytes of " +
             std::to_string(far_.sent));
  }
  if (peer_->was_reset() && !stopped && far_.begun) judge_cut();
}

/// It was cut, by itself or by the other end or by neither.
void TunnelEnd::judge_cut() {
  if (own_.reset || far_.reset) return;
  const policy::TimeoutOptions& timeout = scenario_.plain_route().timeout;
  const Duration latency = scenario_.client_latency + scenario_.upstream_latency;
  const TimePoint now = world_.now();
  const bool in_time = timeout.stream && now >= asked_ + *timeout.stream;
  const TimePoint moved = std::max(own_.moved, far_.moved);
  // After everything stood still, what had come meanwhile is read after the time was over.
  // A record of TLS is taken whole: who reads it slowly does so unseen.
  const bool early = now + latency < moved + *timeout.idle - 1ms && !scenario_.over_tls;
  if (early && !in_time && scenario_.pauses == Duration::zero()) {
    violated("was cut " + std::to_string(to_milliseconds(now - moved)) + " ms after a byte");
  }
  const TimePoint last = std::max(own_.last, far_.last);
  const Duration most = 2 * *timeout.idle + 2 * latency + scenario_.pauses + slack;
  if (now > last + most) {
    violated("was silent for " + std::to_string(to_milliseconds(now - last)) + " ms");
  }
}

}  // namespace holdfast::sim
