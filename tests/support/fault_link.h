// FaultLink: a TCP relay that does to a connection what networks do: refuse, cut, stall, delay,
// half-close, lose an answer after the question was read; and, to test a test, change what passes.
//
// Contract: a thread for each connection. A fault holds for every connection from the next piece of
// bytes on, until it is healed. The destructor ends every connection and joins. Thread-safe:
// everything public but rewrite(), which comes before the first connection.
#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "tests/support/socket.h"

namespace holdfast::testing {

class FaultLink {
 public:
  explicit FaultLink(std::string target);
  ~FaultLink();
  FaultLink(const FaultLink&) = delete;
  FaultLink& operator=(const FaultLink&) = delete;

  const std::string& address() const { return listener_.address(); }
  std::size_t open_connections() const { return open_; }

  /// New connections are refused.
  void refuse();
  /// Every open connection is reset.
  void cut() { ++cuts_; }
  /// Nothing passes, either way.
  void stall() { stalled_ = true; }
  /// What the target says comes so much later.
  void delay(Milliseconds by) { delay_ = by.count(); }
  /// What the target says is dropped, and the connection ends.
  void lose_answers() { losing_answers_ = true; }
  /// A new connection gets a FIN at once; what the client sends still passes.
  void half_close() { half_closing_ = true; }
  /// New connections go to another target.
  void switch_to(const std::string& target);
  /// So many bytes of the next answers pass; then the connection is reset, ends, or is silent.
  void break_off(std::size_t after, Fault how);
  /// No fault from now on.
  void heal();

  /// These bytes, wherever a client sends them, become those, and blanks up to their length.
  void rewrite(std::string from, std::string to);
  /// When the target ends a connection without an answer, the same bytes are sent to it again,
  /// once.
  void repeat_unanswered() { repeating_ = true; }

 private:
  struct Connection {
    Socket client;
    Socket target;
    bool half_closed = false;
    bool client_open = true;
    bool answered = false;
    bool repeated = false;
    bool silent = false;
    std::string sent;  // to the target
    std::string held;  // perhaps the beginning of what is to be rewritten
    std::size_t cuts = 0;
    std::thread thread;
  };

  void accept_connections();
  void serve(Connection& connection);
  void relay(Connection& connection);
  bool take_from_client(Connection& connection);
  bool take_from_target(Connection& connection);
  bool repeat(Connection& connection);
  std::string rewritten(std::string bytes, std::string& held);

  struct Break {
    std::size_t left = 0;
    Fault how = Fault::none;
  };

  std::string target() const;
  /// What of these bytes still passes, and then what comes of the connection.
  Break take_break(std::size_t bytes);

  mutable std::mutex mutex_;  // of the next two
  std::string target_;
  Break break_;
  ListeningSocket listener_;
  std::mutex listener_mutex_;
  std::string from_;
  std::string to_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> refusing_ = false;
  std::atomic<bool> stalled_ = false;
  std::atomic<bool> losing_answers_ = false;
  std::atomic<bool> half_closing_ = false;
  std::atomic<bool> repeating_ = false;
  std::atomic<Milliseconds::rep> delay_ = 0;
  std::atomic<std::size_t> cuts_ = 0;
  std::atomic<std::size_t> open_ = 0;
  std::list<Connection> connections_;  // of the acceptor's thread
  std::thread acceptor_;
};

}  // namespace holdfast::testing
