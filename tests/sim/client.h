// Client: one connection of a client: some requests, one after the other or all at once, sent and
// read in the manner of its seed: politely, in pieces, slowly, or gone in the middle. It reads
// answers in the order of its requests and tells the ledger each one, or that it will get none.
//
// It judges what it can see by itself: an answer is HTTP, belongs to its request, is whole, and its
// head comes within the bound of its route.
//
// Contract: everything is drawn from its own chance. must_be_over(): long after the last fault no
// request waits any more.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "tests/sim/ledger.h"
#include "tests/sim/message.h"
#include "tests/sim/scenario.h"
#include "tests/sim/tls_link.h"
#include "tests/sim/tunnel.h"
#include "tests/support/fake_network.h"

namespace holdfast::sim {

/// One request of a client.
struct Question {
  std::uint64_t number = 0;
  std::string method = {};
  std::string path = {};
  std::string who = {};
  std::string key = {};  // "" without
  std::string body = {};
  bool chunked = false;
  std::optional<std::uint64_t> deadline = {};  // milliseconds
  bool expects = false;                        // 100 (Continue)
  bool waits = false;                          // ... and sends its body when it was told to
  bool upgrades = false;                       // to a WebSocket

  std::string identity() const { return key.empty() ? "" : who + ":" + key; }
  std::string content() const { return who + " " + payload(); }
  std::string payload() const { return method + " " + path + " " + key + " " + body; }
  std::string head() const;
  std::string text() const;
};
Question draw_question(const Scenario& scenario, Chance& chance);
/// A keyed request as draw_question() makes most of them; `number` of hot_keys.
Question keyed_question(std::uint64_t key, const std::string& who);

class Client {
 public:
  Client(test::World& world, const Scenario& scenario, Ledger& ledger, std::uint64_t seed,
         const Approach& approach);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Sends what its seed says.
  void begin();
  /// Sends this, politely, instead.
  void ask(Question question);
  void must_be_over();
  /// True if its last answer was the upstream's.
  bool was_served() const { return served_; }
  /// Ends the connection.
  void leave();

 private:
  enum class Manner : std::uint8_t {
    polite,
    pipelining,
    slow_writer,
    slow_reader,
    sips,         // reads a little at a time
    deaf,         // reads nothing from some point on
    stalls,       // within a request
    aborts,       // RST at some moment
    half_closes,  // FIN behind its last request
    leaves        // FIN within a request
  };
  struct Asked {
    Question question;
    TimePoint sent = never;  // its last byte; of what is sent slowly or in part nobody knows
    bool first = false;
    bool withheld = false;   // its body, until it is told to continue
    bool continued = false;  // it was told to
  };

  void send_next();
  /// Sends so much of it; when the last byte has gone is in the Asked.
  void send(Asked& asked, std::size_t bytes);
  void adopt_manner();
  void read();
  void told_to_continue(Asked& asked);
  void give_up_body(const Asked& asked);
  void answered(const Asked& asked, const Message& answer);
  void switch_protocols(const Asked& asked, const Message& answer);
  void lose(const Asked& asked, std::string_view fault);
  void judge(const Question& question, const Message& answer);
  void judge_state(const Question& question, std::string_view state);
  bool may_be_told(const Question& question, const Message& answer, const Run& run) const;
  void judge_time(const Asked& asked);
  void lose_all(std::string_view fault);
  bool is_fast_reader() const;

  test::World& world_;
  const Scenario& scenario_;
  Ledger& ledger_;
  Chance chance_;
  const Approach approach_;
  const std::shared_ptr<test::Peer> peer_;
  const std::uint64_t connection_;
  MessageReader reader_;
  Manner manner_ = Manner::polite;
  Duration latency_{};
  std::size_t piece_ = 1 << 16;
  TimePoint written_ = TimePoint::min();  // of a slow writer: when it is ready for more
  std::deque<Question> to_ask_;
  std::deque<Asked> waiting_;
  bool head_seen_ = false;
  bool served_ = false;
  bool finished_ = false;  // it has sent FIN
  bool begun_ = false;
  bool over_ = false;
  std::unique_ptr<TunnelEnd> tunnel_;
};

}  // namespace holdfast::sim
