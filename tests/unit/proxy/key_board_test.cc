#include "holdfast/proxy/key_board.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

namespace holdfast::proxy {
namespace {

Digest id_of(std::size_t number) {
  Digest id{};
  id[0] = static_cast<std::uint8_t>(number);
  id[1] = static_cast<std::uint8_t>(number >> 8);
  return id;
}

const KeyBoard::Wake nobody = [](const std::shared_ptr<const SharedAnswer>&) {};

/// Waits under a new name, and notes that in `woken` whenever it is woken.
std::uint64_t wait(KeyBoard& board, const Digest& id, std::vector<std::uint64_t>& woken) {
  const std::uint64_t name = board.new_waiter();
  const bool admitted = board.wait(
      id, name,
      [&woken, name](const std::shared_ptr<const SharedAnswer>&) { woken.push_back(name); });
  REQUIRE(admitted);
  return name;
}

TEST_CASE("a key has at most 16 waiters; a place that is left is free again") {
  KeyBoard board;
  const Digest id = id_of(1);
  std::vector<std::uint64_t> names;
  for (std::size_t n = 0; n < KeyBoard::max_waiters_per_key; ++n) {
    names.push_back(board.new_waiter());
    CHECK(board.wait(id, names.back(), nobody));
  }
  const std::uint64_t late = board.new_waiter();
  CHECK_FALSE(board.wait(id, late, nobody));
  board.leave(id, late);  // of one that was not admitted: nothing
  CHECK_FALSE(board.wait(id, late, nobody));
  CHECK(board.wait(id_of(2), late, nobody));
  board.leave(id, names[7]);
  CHECK(board.wait(id, board.new_waiter(), nobody));
}

TEST_CASE("a process has at most 1,024 waiters; a place that is left is free again") {
  KeyBoard board;
  std::uint64_t first = 0;
  for (std::size_t n = 0; n < KeyBoard::max_waiters; ++n) {
    const std::uint64_t name = board.new_waiter();
    if (n == 0) first = name;
    REQUIRE(board.wait(id_of(n / KeyBoard::max_waiters_per_key), name, nobody));
  }
  const Digest another = id_of(5000);
  const std::uint64_t late = board.new_waiter();
  CHECK_FALSE(board.wait(another, late, nobody));
  CHECK_FALSE(board.awaited(another));
  board.leave(id_of(0), first);
  CHECK(board.wait(another, late, nobody));
}

TEST_CASE("at most 1,024 answers are kept that no store has taken") {
  KeyBoard board;
  const auto answer = std::make_shared<const SharedAnswer>();
  for (std::size_t n = 0; n < KeyBoard::max_unrecorded; ++n) REQUIRE(board.keep(id_of(n), answer));
  CHECK_FALSE(board.keep(id_of(5000), answer));
  CHECK(board.unrecorded(id_of(5000)) == nullptr);
  CHECK(board.unrecorded(id_of(3)) == answer);
  board.forget(id_of(3));
  CHECK(board.unrecorded(id_of(3)) == nullptr);
  CHECK(board.keep(id_of(5000), answer));
}

TEST_CASE("all who wait for a key are woken, the oldest first, and nobody else") {
  KeyBoard board;
  std::vector<std::uint64_t> woken;
  const std::uint64_t a = wait(board, id_of(1), woken);
  const std::uint64_t other = wait(board, id_of(2), woken);
  const std::uint64_t b = wait(board, id_of(1), woken);
  board.wake(id_of(3), nullptr);
  CHECK(woken.empty());
  board.wake(id_of(1), nullptr);
  CHECK(woken == std::vector<std::uint64_t>{a, b});
  board.wake(id_of(1), nullptr);  // they stay until they leave
  CHECK(woken == std::vector<std::uint64_t>{a, b, a, b});
  board.leave(id_of(2), other);
  CHECK_FALSE(board.awaited(id_of(2)));
  CHECK(board.awaited(id_of(1)));
}

TEST_CASE("what a waiter is woken with is what the upstream said") {
  KeyBoard board;
  const auto said = std::make_shared<const SharedAnswer>(SharedAnswer{{}, 429, "", "later"});
  std::shared_ptr<const SharedAnswer> heard;
  REQUIRE(board.wait(id_of(1), board.new_waiter(), [&](std::shared_ptr<const SharedAnswer> answer) {
    heard = std::move(answer);
  }));
  board.wake(id_of(1), said);
  CHECK(heard == said);
}

TEST_CASE("the oldest asks for all; when it leaves the next is woken to ask, whoever leaves else") {
  KeyBoard board;
  const Digest id = id_of(1);
  std::vector<std::uint64_t> woken;
  const std::uint64_t a = wait(board, id, woken);
  const std::uint64_t b = wait(board, id, woken);
  const std::uint64_t c = wait(board, id, woken);
  const auto asker = [&] {
    return std::vector<bool>{board.asks(id, a), board.asks(id, b), board.asks(id, c)};
  };
  CHECK(asker() == std::vector<bool>{true, false, false});
  board.leave(id, b);
  CHECK(woken.empty());
  CHECK(asker() == std::vector<bool>{true, false, false});
  board.leave(id, a);
  CHECK(woken == std::vector<std::uint64_t>{c});
  CHECK(asker() == std::vector<bool>{false, false, true});
  board.leave(id, c);
  CHECK(asker() == std::vector<bool>{false, false, false});
  CHECK(woken == std::vector<std::uint64_t>{c});
}

TEST_CASE("while a refusal is announced nobody asks; who came in time is told, the next one asks") {
  KeyBoard board;
  const Digest id = id_of(1);
  std::vector<std::uint64_t> woken;
  board.announce_refusal(id);
  CHECK_FALSE(board.awaited(id));
  const std::uint64_t a = wait(board, id, woken);
  const std::uint64_t b = wait(board, id, woken);
  CHECK_FALSE(board.asks(id, a));
  board.leave(id, a);
  CHECK(woken.empty());  // there is nothing yet to ask for
  CHECK_FALSE(board.asks(id, b));
  board.wake(id, std::make_shared<const SharedAnswer>());
  CHECK(woken == std::vector<std::uint64_t>{b});
  board.withdraw_refusal(id);
  CHECK_FALSE(board.asks(id, b));
  const std::uint64_t c = wait(board, id, woken);
  CHECK_FALSE(board.asks(id, c));  // b is still there
  board.leave(id, b);
  CHECK(woken == std::vector<std::uint64_t>{b, c});
  CHECK(board.asks(id, c));
}

TEST_CASE("a refusal that was announced and did not come about: the oldest asks again") {
  KeyBoard board;
  const Digest id = id_of(1);
  std::vector<std::uint64_t> woken;
  const std::uint64_t a = wait(board, id, woken);
  board.announce_refusal(id);
  CHECK_FALSE(board.asks(id, a));
  board.wake(id, nullptr);
  CHECK(woken == std::vector<std::uint64_t>{a});
  board.withdraw_refusal(id);
  CHECK(woken == std::vector<std::uint64_t>{a, a});  // nothing is asked in vain for long
  CHECK(board.asks(id, a));
  board.leave(id, a);
  board.announce_refusal(id);
  board.leave(id, a);
  board.withdraw_refusal(id);
  CHECK_FALSE(board.refusal_announced(id));
  CHECK_FALSE(board.awaited(id));
}

TEST_CASE("of two owners on their way out, the last one lets them ask again") {
  KeyBoard board;
  const Digest id = id_of(1);
  std::vector<std::uint64_t> woken;
  const std::uint64_t a = wait(board, id, woken);
  board.announce_refusal(id);
  board.announce_refusal(id);
  board.wake(id, nullptr);
  board.withdraw_refusal(id);
  CHECK_FALSE(board.asks(id, a));
  CHECK(board.refusal_announced(id));
  CHECK(woken == std::vector<std::uint64_t>{a});
  board.withdraw_refusal(id);
  CHECK(woken == std::vector<std::uint64_t>{a, a});
  CHECK(board.asks(id, a));
}

TEST_CASE("threads that come, wake, keep and go leave an empty board") {
  KeyBoard board;
  std::atomic<int> woken{0};
  const auto answer = std::make_shared<const SharedAnswer>();
  const auto work = [&](std::size_t number) {
    for (std::size_t round = 0; round < 500; ++round) {
      const Digest id = id_of(round % 3);
      const std::uint64_t name = board.new_waiter();
      const bool admitted = board.wait(
          id, name, [&](const std::shared_ptr<const SharedAnswer>&) { woken.fetch_add(1); });
      CHECK(admitted);
      board.wake(id, answer);
      board.keep(id_of(100 + number), answer);
      CHECK(board.unrecorded(id_of(100 + number)) == answer);
      board.forget(id_of(100 + number));
      board.leave(id, name);
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t n = 0; n < 4; ++n) threads.emplace_back(work, n);
  for (std::thread& thread : threads) thread.join();
  CHECK(woken >= 4 * 500);
  for (std::size_t n = 0; n < 3; ++n) CHECK_FALSE(board.awaited(id_of(n)));
}

}  // namespace
}  // namespace holdfast::proxy
