// Reading as those do who are slow: a little, a pause, a little more, and at last everything.
#pragma once

#include <memory>

#include "tests/sim/chance.h"
#include "tests/support/fake_network.h"

namespace holdfast::sim {

inline void read_in_sips(test::World& world, const std::shared_ptr<test::Peer>& peer,
                         Chance& chance, Duration longest_pause) {
  const Duration pause = chance.between(1ms, longest_pause);
  const auto sips = static_cast<int>(chance.number(1, 12));
  for (int i = 0; i < sips; ++i) {
    world.schedule(pause * i, [peer, sip = 1 + chance.below(300)] { peer->take_at_most(sip); });
  }
  world.schedule(pause * sips, [peer] { peer->take_everything(); });
}

}  // namespace holdfast::sim
