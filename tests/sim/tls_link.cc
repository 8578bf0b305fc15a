#include "tests/sim/tls_link.h"

#include <algorithm>
#include <string>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/proxy/config.h"
#include "tests/support/certificates.h"

namespace holdfast::sim {
namespace {

using test::TlsPeer;

constexpr std::uint64_t failing_upstreams_percent = 5;
constexpr std::uint64_t failing_clients_percent = 10;
constexpr std::uint64_t slow_clients_percent = 15;
/// Of a slow client, one way: some handshakes take longer than a listener waits.
constexpr Duration slowest = 250ms;
/// A handshake's words go to and fro so often at most, before a server hears anything else.
constexpr int ways = 5;
/// So long what a replica has left lies between.
constexpr Duration patience = 10s;

const testing::Authority& authority() {
  static const testing::Authority made;
  return made;
}

const testing::Certificate& identity() {
  static const testing::Certificate made = authority().issue();
  return made;
}

enum class Handshake : std::uint8_t { well, silent, reset, end, nonsense, in_part, stranger };

}  // namespace

/// What a link is to be.
struct TlsLinks::Plan {
  Handshake handshake = Handshake::well;
  bool of_client = false;
  Duration latency{};  // of the handshake
  const testing::Certificate* identity = nullptr;
  test::TlsPeerOptions options = {};
};

class TlsLinks::Link final : private net::Stream::Carried {
 public:
  Link(test::World& world, Ledger& ledger, Chance chance, const Plan& plan,
       std::unique_ptr<net::Stream> plain, std::shared_ptr<test::Peer> replica)
      : world_(world),
        ledger_(ledger),
        chance_(chance),
        plan_(plan),
        plain_(std::move(plain)),
        replica_(std::move(replica)) {
    const bool has_tls =
        plan_.handshake == Handshake::well || plan_.handshake == Handshake::stranger;
    if (has_tls) tls_ = std::make_unique<TlsPeer>(replica_, plan_.identity, plan_.options);
    replica_->set_latency(plan_.latency);
    begin(plan_.handshake);
    replica_->on_change = [this] { to_end(); };
    plain_->carry(*this);
  }
  ~Link() { replica_->on_change = nullptr; }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  const TlsPeer* tls() const { return tls_.get(); }
  bool is_open() const { return replica_->open(); }
  bool is_client() const { return plan_.of_client; }
  /// Its replica cannot have ended the handshake well.
  bool must_fail() const { return plan_.handshake != Handshake::well; }
  /// It has.
  bool was_heard() const { return tls_ && (!tls_->received().empty() || tls_->notified()); }

 private:
  // -- the handshake

  void begin(Handshake handshake) {
    if (tls_ && plan_.of_client) tls_->start();
    if (handshake == Handshake::reset) replica_->reset();
    if (handshake == Handshake::end) replica_->finish();
    if (handshake == Handshake::nonsense) replica_->send(nonsense());
    if (handshake != Handshake::in_part) return;
    const std::string greeting = TlsPeer(replica_, plan_.identity, plan_.options).greeting();
    replica_->send(greeting.substr(0, greeting.size() * chance_.number(1, 99) / 100));
    begin(chance_.one_of({Handshake::silent, Handshake::reset, Handshake::end}));
  }

  std::string nonsense() {
    if (!plan_.of_client) return "HTTP/1.1 400 Bad Request\r\n\r\n";
    if (chance_.percent(50)) return "GET /things HTTP/1.1\r\nHost: a.test\r\n\r\n";
    return "\x16 what? " + std::string(chance_.below(500), '\x03');
  }

  // -- to the replica

  void on_input() override {
    to_replica();
    if (plain_->failure()) follow_replica();  // it may have waited for what comes no more
  }
  void on_sent() override { to_end(); }

  void to_replica() {
    if (!plain_) return;
    const bool speaks = tls_ && tls_->established();
    if (speaks && !plain_->input().empty()) {
      const std::string_view bytes = plain_->input();
      tls_->send(bytes);
      plain_->consume(bytes.size());
      if (plan_.options.version == TLS1_3_VERSION && chance_.percent(3)) tls_->update_keys();
    }
    if (plain_->failure()) {
      if (!std::exchange(has_cut_, true)) cut();
    } else if (plain_->ended() && speaks) {
      if (!std::exchange(has_ended_, true)) end();
    }
  }

  /// No close_notify is said, whatever else is.
  void cut() {
    if (tls_ && tls_->established() && chance_.percent(70)) {
      const std::string record =
          tls_->encrypted("the end of this is missing");  // "" behind the end
      const std::size_t most = std::max<std::size_t>(record.size(), 1);
      if (chance_.percent(50)) replica_->send(record.substr(0, chance_.below(most)));
      replica_->finish();
    }
    replica_->reset();  // behind a FIN, for who sends something all the same
  }

  void end() {
    const std::string_view late =
        plan_.of_client ? "GET /late HTTP/1.1\r\nHost: a.test\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n";
    tls_->close_notify(chance_.percent(20) ? late : "");
    if (chance_.percent(80)) replica_->finish();
  }

  // -- from the replica

  void to_end() {
    if (tls_) listen();
    to_replica();
    if (!plain_) return;
    if (tls_ && !replica_->was_reset()) pass_on();
    follow_replica();
  }

  /// Takes what has come.
  void listen() {
    tls_->pause(false);
    if (tls_->established()) replica_->set_latency(Duration::zero());
    if (must_fail()) return;
    if (!tls_->failure().empty() && !std::exchange(is_judged_, true)) {
      ledger_.violated("tls", "a replica is read as: " + tls_->failure());
    }
    if (replica_->ended() && !std::exchange(has_left_, true) && !may_just_leave()) {
      ledger_.violated("tls", "a replica has left without close_notify");
    }
  }

  /// By a reset; with bytes that were not taken, for close_notify is behind them; before hands are
  /// shaken; from who has left itself.
  bool may_just_leave() const {
    return tls_->notified() || replica_->was_reset() || is_full_ || !was_heard() || has_cut_;
  }

  /// Who has left the one end leaves the other.
  void follow_replica() {
    if (replica_->open()) return;
    // What is on its way still comes, as from a kernel; without close_notify it is no end.
    if (tls_ && tls_->notified() && !replica_->was_reset() && !all_passed()) {
      if (!std::exchange(is_waiting_, true)) world_.schedule(patience, [this] { give_up(); });
      return;
    }
    if (!tls_ || !tls_->notified() || replica_->was_reset()) plain_->abort();
    plain_.reset();
  }

  void give_up() {
    if (plain_) plain_->abort();
    plain_.reset();
  }

  bool all_passed() const {
    return plain_->failure() || (passed_ == tls_->received().size() && !plain_->sending());
  }

  void pass_on() {
    const std::string& all = tls_->received();
    if (passed_ < all.size() && !plain_->sending()) {
      plain_->send(std::string_view(all).substr(passed_));
      passed_ = all.size();
    }
    is_full_ = plain_->sending();
    replica_->take_at_most(is_full_ ? 0 : test::Peer::unlimited);
    const bool over = tls_->notified() && all_passed();
    if (over && !std::exchange(has_passed_end_, true)) plain_->finish();
  }

  test::World& world_;
  Ledger& ledger_;
  Chance chance_;
  const Plan plan_;
  std::unique_ptr<net::Stream> plain_;  // to who knows nothing of TLS
  std::shared_ptr<test::Peer> replica_;
  std::unique_ptr<TlsPeer> tls_;  // nullptr: there is no handshake
  std::size_t passed_ = 0;        // of what the replica has said
  bool has_cut_ = false;
  bool has_ended_ = false;
  bool has_passed_end_ = false;
  bool is_waiting_ = false;
  bool is_full_ = false;
  bool has_left_ = false;
  bool is_judged_ = false;
};

TlsLinks::TlsLinks(test::World& world, Ledger& ledger, std::uint64_t seed)
    : world_(world),
      ledger_(ledger),
      chance_(seed ^ 0x5eed0009),
      client_chance_(seed ^ 0x5eed000a),
      seed_(seed),
      upstream_version_(client_chance_.percent(20) ? TLS1_2_VERSION : TLS1_3_VERSION) {}

TlsLinks::~TlsLinks() = default;

std::shared_ptr<net::TlsClientCredentials> TlsLinks::credentials() {
  static const auto made = [] {
    net::TlsClientOptions options;
    options.ca = authority().ca_file();
    options.server_name = "redis.test";  // of the certificates that tests make
    auto context = net::TlsClientContext::make(options, proxy::upstream_protocol);
    HOLDFAST_ASSERT(context.has_value());
    return std::make_shared<net::TlsClientCredentials>(std::move(*context));
  }();
  return made;
}

std::optional<net::TlsServerOptions> TlsLinks::draw_listener() {
  if (client_chance_.percent(50)) return std::nullopt;
  const bool asks = client_chance_.percent(30);
  return net::TlsServerOptions{identity().cert_file(), identity().key_file(),
                               asks ? authority().ca_file() : ""};
}

std::unique_ptr<net::Stream> TlsLinks::to_upstream(std::unique_ptr<net::Stream> plain) {
  Plan plan;
  plan.identity = &identity();
  plan.options.version = upstream_version_;
  plan.options.like = upstream_;
  if (!calm_ && chance_.percent(failing_upstreams_percent)) {
    plan.handshake =
        chance_.one_of({Handshake::silent, Handshake::reset, Handshake::end, Handshake::nonsense});
  }
  std::unique_ptr<net::Stream> stream = link(std::move(plain), plan);
  if (upstream_ == nullptr) upstream_ = links_.back()->tls();
  return stream;
}

std::unique_ptr<net::Stream> TlsLinks::of_client(std::unique_ptr<net::Stream> plain,
                                                 const net::TlsServerOptions& listener,
                                                 Approach& approach) {
  Plan plan;
  plan.of_client = true;
  plan.identity = &identity();
  plan.options.connects = true;
  plan.options.version = client_chance_.percent(30) ? TLS1_2_VERSION : TLS1_3_VERSION;
  if (client_chance_.percent(30)) plan.options.parts = client_chance_.number(2, 5);
  const bool resumes = client_ != nullptr && client_->established() && client_chance_.percent(60);
  if (resumes) plan.options.like = client_;
  if (!calm_ && client_chance_.percent(slow_clients_percent)) {
    plan.latency = client_chance_.between(0us, slowest);
  }
  if (!calm_ && client_chance_.percent(failing_clients_percent)) {
    plan.handshake =
        client_chance_.one_of({Handshake::silent, Handshake::reset, Handshake::end,
                               Handshake::nonsense, Handshake::in_part, Handshake::stranger});
    if (listener.client_ca.empty() && plan.handshake == Handshake::stranger) {
      plan.handshake = Handshake::in_part;
    }
  }
  if (plan.handshake == Handshake::stranger) {
    plan.identity = nullptr;
    plan.options.like = nullptr;
  }
  approach.over_tls = true;
  approach.handshake = ways * plan.latency;
  approach.is_strange = plan.handshake != Handshake::well;
  std::unique_ptr<net::Stream> stream = link(std::move(plain), plan);
  if (!approach.is_strange) client_ = links_.back()->tls();
  return stream;
}

std::unique_ptr<net::Stream> TlsLinks::link(std::unique_ptr<net::Stream> plain, const Plan& plan) {
  test::FakePair pair = test::make_pair(world_);
  const Chance chance((seed_ ^ 0x5eed000b) + links_.size() * 0x9e3779b97f4a7c15);
  links_.push_back(
      std::make_unique<Link>(world_, ledger_, chance, plan, std::move(plain), pair.peer));
  return std::move(pair.stream);
}

void TlsLinks::judge() const {
  int least = 0;
  int most = 0;
  for (const auto& link : links_) {
    if (!link->is_client()) continue;
    if (link->is_open()) ledger_.violated("leak", "a client's connection over TLS is open");
    if (link->must_fail()) ++least;
    if (!link->was_heard()) ++most;
  }
  // Whoever was stopped meanwhile told nobody.
  if (ledger_.last_stop() != TimePoint::min()) least = 0;
  const int told = ledger_.failed_handshakes();
  if (told >= least && told <= most) return;
  ledger_.violated("metrics", std::to_string(told) + " handshakes with clients are told to have " +
                                  "failed, not " + std::to_string(least) + " to " +
                                  std::to_string(most));
}

runtime::Task<Result<std::unique_ptr<net::Stream>>> TlsReach::connect(const net::Address& address,
                                                                      TimePoint deadline) {
  Result<std::unique_ptr<net::Stream>> plain = co_await below_.connect(address, deadline);
  if (!plain) co_return unexpected(std::move(plain.error()));
  co_return links_.to_upstream(std::move(*plain));
}

}  // namespace holdfast::sim
