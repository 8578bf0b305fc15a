// NameServer: DNS over UDP for a test, which says what each name is at the moment.
//
// Contract: a name that nobody told it of does not exist. Thread-safe. It answers A and AAAA; what
// it is told holds for the next question. The TTL it gives is long: who refreshes must not believe
// it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/socket.h"

namespace holdfast::testing {

class NameServer {
 public:
  /// `ip` may be any of the loopback's.
  explicit NameServer(const std::string& ip = "127.0.0.53", std::uint16_t port = 53);
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  /// The name has these addresses, of both families as they come.
  void answer(const std::string& name, const std::vector<std::string>& addresses);
  void does_not_exist(const std::string& name) { tell(name, {Kind::no_such_name, {}}); }
  void server_failure(const std::string& name) { tell(name, {Kind::failure, {}}); }
  /// Questions about it are taken and not answered.
  void hang(const std::string& name) { tell(name, {Kind::silence, {}}); }
  /// True: nothing is answered, whatever is asked.
  void down(bool down);

  /// Questions about the name so far, of any type.
  std::size_t questions(const std::string& name) const;
  /// Waits until there were more than `count`.
  bool wait_for_questions(const std::string& name, std::size_t count) const;

 private:
  enum class Kind { addresses, no_such_name, failure, silence };
  struct Entry {
    Kind kind = Kind::no_such_name;
    std::vector<std::string> addresses;
  };

  void tell(const std::string& name, Entry entry);
  void serve();
  std::string reply_to(std::string_view question);

  Socket socket_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::size_t> questions_;
  bool down_ = false;
  std::thread server_;
};

}  // namespace holdfast::testing
