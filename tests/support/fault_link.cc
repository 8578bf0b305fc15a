#include "tests/support/fault_link.h"

#include <poll.h>

#include <array>
#include <stdexcept>
#include <utility>

namespace holdfast::testing {
namespace {

constexpr Milliseconds turn{5};  // how soon a fault is noticed
constexpr std::size_t piece = 1 << 16;

/// Which of the two has something to read. A socket that is not asked is none.
std::array<bool, 2> readable(const Socket* client, const Socket& target) {
  std::array<pollfd, 2> entries{pollfd{client == nullptr ? -1 : client->descriptor(), POLLIN, 0},
                                pollfd{target.descriptor(), POLLIN, 0}};
  ::poll(entries.data(), entries.size(), static_cast<int>(turn.count()));
  return {entries[0].revents != 0, entries[1].revents != 0};
}

}  // namespace

FaultLink::FaultLink(std::string target) : target_(std::move(target)), listener_("127.0.0.1:0") {
  acceptor_ = std::thread([this] { accept_connections(); });
}

FaultLink::~FaultLink() {
  stopping_ = true;
  acceptor_.join();
  for (Connection& connection : connections_) connection.thread.join();
}

void FaultLink::refuse() {
  const std::lock_guard lock(listener_mutex_);
  if (!refusing_.exchange(true)) listener_.refuse();
}

void FaultLink::switch_to(const std::string& target) {
  const std::lock_guard lock(mutex_);
  target_ = target;
}

void FaultLink::break_off(std::size_t after, Fault how) {
  const std::lock_guard lock(mutex_);
  break_ = {after, how};
}

std::string FaultLink::target() const {
  const std::lock_guard lock(mutex_);
  return target_;
}

FaultLink::Break FaultLink::take_break(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (break_.how == Fault::none) return {bytes, Fault::none};
  if (bytes < break_.left) {
    break_.left -= bytes;
    return {bytes, Fault::none};
  }
  return std::exchange(break_, {});
}

void FaultLink::heal() {
  stalled_ = false;
  losing_answers_ = false;
  half_closing_ = false;
  delay_ = 0;
  const std::lock_guard lock(listener_mutex_);
  if (refusing_.exchange(false)) listener_.listen_again();
}

void FaultLink::rewrite(std::string from, std::string to) {
  if (to.size() > from.size()) throw std::invalid_argument("what is rewritten may not grow");
  to.resize(from.size(), ' ');  // the lengths that a protocol told before still hold
  from_ = std::move(from);
  to_ = std::move(to);
}

void FaultLink::accept_connections() {
  while (!stopping_) {
    std::optional<Socket> accepted;
    std::size_t cuts = 0;
    {
      // With the cuts so far: who refuses and then cuts has cut this one too.
      const std::lock_guard lock(listener_mutex_);
      accepted = listener_.accept(1ms);
      cuts = cuts_;
      if (accepted) ++open_;
    }
    if (!accepted) {
      std::this_thread::yield();
      continue;
    }
    Connection& connection = connections_.emplace_back();
    connection.client = std::move(*accepted);
    connection.cuts = cuts;
    connection.half_closed = half_closing_;
    connection.thread = std::thread([this, &connection] { serve(connection); });
  }
}

void FaultLink::serve(Connection& connection) {
  try {
    connection.target = Socket::connect(target());
    if (connection.half_closed) connection.client.shutdown_write();
    relay(connection);
  } catch (const WireError&) {
    connection.client.reset();
  }
  connection.client.close();
  connection.target.close();
  --open_;
}

void FaultLink::relay(Connection& connection) {
  while (!stopping_) {
    if (connection.cuts != cuts_) throw WireError(Fault::reset, "cut");
    if (stalled_ || connection.silent) {
      std::this_thread::sleep_for(1ms);
      continue;
    }
    const Socket* client = connection.client_open ? &connection.client : nullptr;
    const auto [from_client, from_target] = readable(client, connection.target);
    if (from_client && !take_from_client(connection)) return;
    if (from_target && !take_from_target(connection)) return;
  }
}

bool FaultLink::take_from_client(Connection& connection) {
  const std::string bytes = connection.client.receive(piece);
  if (bytes.empty()) {
    connection.client_open = false;
    connection.target.shutdown_write();
    return true;
  }
  const std::string passed = rewritten(bytes, connection.held);
  if (repeating_) connection.sent += passed;
  connection.target.send(passed);
  return true;
}

bool FaultLink::take_from_target(Connection& connection) {
  std::string bytes;
  try {
    bytes = connection.target.receive(piece);
  } catch (const WireError&) {
    if (repeat(connection)) return true;
    throw;
  }
  if (bytes.empty()) return repeat(connection);
  if (losing_answers_) throw WireError(Fault::reset, "the answer is lost");
  connection.answered = true;
  if (delay_ > 0) std::this_thread::sleep_for(Milliseconds(delay_));
  if (connection.half_closed) return true;
  const Break next = take_break(bytes.size());
  connection.client.send(std::string_view(bytes).substr(0, next.left));
  if (next.how == Fault::reset) throw WireError(Fault::reset, "broken off");
  connection.silent = next.how == Fault::timeout;
  return next.how != Fault::end;
}

bool FaultLink::repeat(Connection& connection) {
  if (!repeating_ || connection.answered || connection.repeated) return false;
  connection.repeated = true;
  connection.target = Socket::connect(target());
  connection.target.send(connection.sent);
  return true;
}

std::string FaultLink::rewritten(std::string bytes, std::string& held) {
  if (from_.empty()) return bytes;
  bytes.insert(0, std::exchange(held, ""));
  for (auto at = bytes.find(from_); at != bytes.npos; at = bytes.find(from_, at + to_.size())) {
    bytes.replace(at, from_.size(), to_);
  }
  // No message ends with a part of what is looked for, so what does is not yet the whole.
  for (std::size_t part = from_.size() - 1; part > 0; --part) {
    if (!bytes.ends_with(std::string_view(from_).substr(0, part))) continue;
    held = bytes.substr(bytes.size() - part);
    bytes.resize(bytes.size() - part);
    break;
  }
  return bytes;
}

}  // namespace holdfast::testing
