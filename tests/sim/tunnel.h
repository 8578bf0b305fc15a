// Tunnel: what becomes of a connection that has switched protocols: bytes both ways, from two ends
// that speak, fall silent, read slowly or not at all, half-close, reset. Every byte says where it
// stands in its direction, so that each end can tell what is missing, doubled or somebody else's.
//
// Judged by each end
//   - what comes is what the other end has sent, in order;
//   - a FIN comes only behind the last byte of an end that has sent FIN: a cut is a reset;
//   - a cut that neither end made comes for silence or for the stream's time, not before, and not
//     much later.
//
// Contract: everything is drawn from its own chance, and finite: a tunnel ends by itself.
// Ownership: the Tunnel belongs to the ledger and outlives its ends.
#pragma once

#include <memory>
#include <string_view>

#include "tests/sim/ledger.h"
#include "tests/sim/scenario.h"
#include "tests/support/fake_network.h"

namespace holdfast::sim {

class TunnelEnd {
 public:
  enum class Side : std::uint8_t { client, upstream };

  /// `asked`: when its request was sent.
  TunnelEnd(test::World& world, const Scenario& scenario, Ledger& ledger, std::uint64_t seed,
            std::shared_ptr<test::Peer> peer, Tunnel& tunnel, Side side, TimePoint asked);
  TunnelEnd(const TunnelEnd&) = delete;
  TunnelEnd& operator=(const TunnelEnd&) = delete;

  /// From now on it speaks. `came`: what came behind the head of the 101.
  void begin(std::string_view came);
  /// Something has come, or the end.
  void read();
  /// No more will come.
  bool is_over() const { return over_; }

 private:
  void plan_speech();
  void plan_reading();
  void say(std::size_t size);
  void finish();
  void reset();
  void take(std::string_view bytes);
  void ended();
  void judge_cut();
  void violated(const std::string& what);

  test::World& world_;
  const Scenario& scenario_;
  Ledger& ledger_;
  Chance chance_;
  const std::shared_ptr<test::Peer> peer_;
  Tunnel& tunnel_;
  const Side side_;
  TunnelSide& own_;
  TunnelSide& far_;
  const TimePoint asked_;
  TimePoint began_{};
  bool over_ = false;
};

}  // namespace holdfast::sim
