#include "tests/sim/tls_link.h"

#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/proxy/config.h"
#include "tests/support/certificates.h"

namespace holdfast::sim {
namespace {

using test::TlsPeer;

constexpr std::uint64_t failing_handshakes_percent = 5;

const testing::Authority& authority() {
  static const testing::Authority made;
  return made;
}

const testing::Certificate& identity() {
  static const testing::Certificate made = authority().issue();
  return made;
}

}  // namespace

class TlsLinks::Link final : private net::Stream::Carried {
 public:
  enum class Handshake : std::uint8_t { well, silent, reset, end, nonsense };

  Link(std::unique_ptr<net::Stream> upstream, std::shared_ptr<test::Peer> replica,
       Handshake handshake, const Link* other)
      : upstream_(std::move(upstream)), replica_(std::move(replica)) {
    if (handshake == Handshake::well) {
      test::TlsPeerOptions options;
      if (other != nullptr) options.like = other->server_.get();
      server_ = std::make_unique<TlsPeer>(replica_, identity(), options);
    }
    if (handshake == Handshake::reset) replica_->reset();
    if (handshake == Handshake::end) replica_->finish();
    if (handshake == Handshake::nonsense) replica_->send("HTTP/1.1 400 Bad Request\r\n\r\n");
    replica_->on_change = [this] { to_upstream(); };
    upstream_->carry(*this);
  }
  ~Link() { replica_->on_change = nullptr; }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool has_server() const { return server_ != nullptr; }

 private:
  void on_input() override {
    to_replica();
    if (upstream_->failure()) follow_replica();  // it may have waited for what comes no more
  }
  void on_sent() override { to_upstream(); }

  void to_replica() {
    if (!upstream_) return;
    if (server_ && server_->established() && !upstream_->input().empty()) {
      const std::string_view bytes = upstream_->input();
      server_->send(bytes);
      upstream_->consume(bytes.size());
    }
    if (upstream_->failure()) {
      if (!std::exchange(upstream_failed_, true)) replica_->reset();
    } else if (upstream_->ended() && server_ && server_->established()) {
      if (std::exchange(upstream_ended_, true)) return;
      server_->close_notify();
      replica_->finish();
    }
  }

  void to_upstream() {
    if (server_) server_->pause(false);  // takes what has come
    to_replica();
    if (!upstream_) return;
    if (server_ && !replica_->was_reset()) pass_on();
    follow_replica();
  }

  /// Who has left the one end leaves the other.
  void follow_replica() {
    if (replica_->open()) return;
    // What is on its way still comes, as from a kernel; without close_notify it is no end.
    if (server_ && server_->notified() && !replica_->was_reset() && !all_passed()) return;
    if (!server_ || !server_->notified() || replica_->was_reset()) upstream_->abort();
    upstream_.reset();
  }

  bool all_passed() const {
    return upstream_->failure() || (passed_ == server_->received().size() && !upstream_->sending());
  }

  void pass_on() {
    const std::string& all = server_->received();
    if (passed_ < all.size() && !upstream_->sending()) {
      upstream_->send(std::string_view(all).substr(passed_));
      passed_ = all.size();
    }
    replica_->take_at_most(upstream_->sending() ? 0 : test::Peer::unlimited);
    const bool over = server_->notified() && all_passed();
    if (over && !std::exchange(replica_ended_, true)) upstream_->finish();
  }

  std::unique_ptr<net::Stream> upstream_;
  std::shared_ptr<test::Peer> replica_;
  std::unique_ptr<TlsPeer> server_;  // nullptr: the handshake fails
  std::size_t passed_ = 0;           // of what the replica has said
  bool upstream_ended_ = false;
  bool upstream_failed_ = false;
  bool replica_ended_ = false;
};

TlsLinks::TlsLinks(test::World& world, std::uint64_t seed)
    : world_(world), chance_(seed ^ 0x5eed0009) {}

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

std::unique_ptr<net::Stream> TlsLinks::link(std::unique_ptr<net::Stream> plain) {
  using Handshake = Link::Handshake;
  const bool fails = !calm_ && chance_.percent(failing_handshakes_percent);
  const Handshake handshake = fails ? chance_.one_of({Handshake::silent, Handshake::reset,
                                                      Handshake::end, Handshake::nonsense})
                                    : Handshake::well;
  test::FakePair pair = test::make_pair(world_);
  const Link* other = nullptr;
  for (const auto& link : links_) {
    if (link->has_server()) other = link.get();
    if (other != nullptr) break;
  }
  links_.push_back(std::make_unique<Link>(std::move(plain), pair.peer, handshake, other));
  return std::move(pair.stream);
}

runtime::Task<Result<std::unique_ptr<net::Stream>>> TlsReach::connect(const net::Address& address,
                                                                      TimePoint deadline) {
  Result<std::unique_ptr<net::Stream>> plain = co_await below_.connect(address, deadline);
  if (!plain) co_return unexpected(std::move(plain.error()));
  co_return links_.link(std::move(*plain));
}

}  // namespace holdfast::sim
