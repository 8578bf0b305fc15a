// NameService: names looked up by getaddrinfo (so /etc/hosts, search domains and nsswitch.conf are
// obeyed) on threads of its own, for all loops of the process.
//
// Contract: thread-safe. A name is asked about once at a time, however many wait for it; who asks
// while a look-up is under way gets that one's answer. A look-up cannot be cut short: who has
// waited long enough destroys its Asker, and the look-up ends by itself. Limits: `max_threads`
// look-ups at one time; one thread is there from the start, each other is started when all are
// busy, and if the machine refuses it the name stands in line. Names in line that nobody waits for
// are not asked about. The destructor does not wait for look-ups that are under way.
//
// Names that clients choose (Wish::of_client) may all be slow: half of the threads is the most that
// they hold, however long, and configured names go before them. Of theirs max_in_line stand in
// line; more are refused at once. A configured name that a client has asked for is not held back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/net/address.h"

namespace holdfast::net {

class NameService {
 public:
  /// Each address once, in the order they should be tried (RFC 6724), with port 0; or why not.
  using Answer = Result<std::vector<Address>, std::string>;
  using Ask = std::function<Answer(const std::string& host)>;

  enum class Wish : std::uint8_t { configured, of_client };

  static constexpr std::size_t default_threads = 16;
  static constexpr std::size_t max_in_line = 256;
  /// The error of an answer that is a refusal, and says nothing of the name.
  static constexpr std::string_view refusal =
      "too many names that clients ask for are being looked up";

  /// `ask` blocks. It may still run, on a thread of its own, after the destructor.
  explicit NameService(std::size_t max_threads = default_threads, Ask ask = ask_system);
  ~NameService();
  NameService(const NameService&) = delete;
  NameService& operator=(const NameService&) = delete;

  /// One who waits for a name.
  class Asker {
   public:
    /// `answered` is called at most once, on a look-up's thread or, for a refusal, on this one, and
    /// with a lock held: it must only post to a loop. Not called any more once the destructor has
    /// returned.
    Asker(NameService& names, std::string_view host, Wish wish,
          std::function<void(std::shared_ptr<const Answer>)> answered);
    ~Asker();
    Asker(const Asker&) = delete;
    Asker& operator=(const Asker&) = delete;

   private:
    friend class NameService;
    NameService& names_;
    const std::string host_;
    const Wish wish_;
    std::function<void(std::shared_ptr<const Answer>)> answered_;
  };

  /// Threads that were started.
  std::size_t threads() const;

  static Answer ask_system(const std::string& host);

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state, std::size_t self);
  void add_thread();
  void add(Asker& asker);
  void withdraw(Asker& asker);

  std::shared_ptr<State> state_;  // which look-ups under way outlive this by
};

}  // namespace holdfast::net
