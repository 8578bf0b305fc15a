#include "holdfast/net/uv_listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/uv_network.h"
#include "holdfast/net/uv_stream.h"
#include "holdfast/runtime/event_loop.h"

namespace holdfast::net {
namespace {

constexpr int backlog = 4096;  // the kernel takes the smaller of this and net.core.somaxconn
constexpr mode_t socket_file_mode = 0660;
constexpr mode_t unbound_mode = 0600;
constexpr int accepts_per_turn = 64;
constexpr Duration pause_without_descriptors = std::chrono::milliseconds(100);

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

Descriptor new_socket(int family) {
  return Descriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

bool switch_on(const Descriptor& socket, int option) {
  const int on = 1;
  return ::setsockopt(socket.get(), SOL_SOCKET, option, &on, sizeof(on)) == 0;
}

bool bind_to(const Descriptor& socket, const Address& address) {
  return ::bind(socket.get(), address.get(), address.size()) == 0;
}

bool listen_on(const Descriptor& socket) {
  return ::listen(socket.get(), backlog) == 0;
}

Address local_address(const Descriptor& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  HOLDFAST_ASSERT(::getsockname(socket.get(), raw, &size) == 0);
  return Address::from_sockaddr(raw, size);
}

Unexpected<std::string> refused(const ListenAddress& address, std::string_view reason) {
  return unexpected(address.text + ": " + std::string(reason));
}

Unexpected<std::string> refused_by_kernel(const ListenAddress& address) {
  return refused(address, uv_strerror(-errno));
}

// On success the socket listens. The first asks for a port of its own and shares it only once it
// has it.
bool listen_to_shared_port(const Descriptor& socket, const Address& address, bool first) {
  if (!socket || !switch_on(socket, SO_REUSEADDR)) return false;
  if (!first && !switch_on(socket, SO_REUSEPORT)) return false;
  if (!bind_to(socket, address)) return false;
  if (first && !switch_on(socket, SO_REUSEPORT)) return false;
  return listen_on(socket);
}

Result<ListenSockets, std::string> open_tcp(const ListenAddress& address, int count) {
  ListenSockets sockets;
  sockets.address = address.address;
  std::vector<Descriptor> opened;
  for (int i = 0; i < count; ++i) {
    Descriptor socket = new_socket(address.address.family());
    if (!listen_to_shared_port(socket, sockets.address, i == 0)) return refused_by_kernel(address);
    sockets.address = local_address(socket);
    opened.push_back(std::move(socket));
  }
  for (Descriptor& socket : opened) sockets.descriptors.push_back(socket.release());
  return sockets;
}

// Makes way for a new socket file: true if there is none, or it was left over by a dead process.
Result<void, std::string> clear_stale_file(const ListenAddress& address, const std::string& path) {
  struct stat file {};
  if (::lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return {};
    return refused_by_kernel(address);
  }
  if (!S_ISSOCK(file.st_mode)) return refused(address, "a file that is not a socket is in the way");
  const Descriptor probe = new_socket(AF_UNIX);
  if (!probe) return refused_by_kernel(address);
  const int answered = ::connect(probe.get(), address.address.get(), address.address.size());
  if (answered == 0 || errno == EAGAIN) return refused(address, "another process listens there");
  if (errno != ECONNREFUSED) return refused_by_kernel(address);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return refused_by_kernel(address);
  return {};
}

std::string file_of(const Address& address) {
  return address.text().substr(std::string_view("unix:").size());
}

/// All zero if there is no such file. The number of an inode alone may be another file's by now.
std::array<std::int64_t, 4> identity_of(const std::string& path) {
  struct stat file {};
  if (::lstat(path.c_str(), &file) != 0) return {};
  return {static_cast<std::int64_t>(file.st_dev), static_cast<std::int64_t>(file.st_ino),
          file.st_ctim.tv_sec, file.st_ctim.tv_nsec};
}

Result<ListenSockets, std::string> open_unix(const ListenAddress& address, int count) {
  if (auto cleared = clear_stale_file(address, file_of(address.address)); !cleared) {
    return unexpected(std::move(cleared).error());
  }
  std::vector<Descriptor> opened;
  opened.push_back(new_socket(AF_UNIX));
  const Descriptor& socket = opened.front();
  const std::string path = file_of(address.address);
  // The kernel makes the file with the mode of the socket (and the umask): never wider than it
  // shall be.
  if (!socket || ::fchmod(socket.get(), unbound_mode) != 0 || !bind_to(socket, address.address) ||
      ::chmod(path.c_str(), socket_file_mode) != 0 || !listen_on(socket)) {
    return refused_by_kernel(address);
  }
  while (opened.size() < static_cast<std::size_t>(count)) {
    opened.emplace_back(::fcntl(opened.front().get(), F_DUPFD_CLOEXEC, 0));
    if (!opened.back()) return refused_by_kernel(address);
  }
  ListenSockets sockets;
  sockets.address = address.address;
  sockets.file = identity_of(path);
  for (Descriptor& one : opened) sockets.descriptors.push_back(one.release());
  return sockets;
}

}  // namespace

Result<ListenSockets, std::string> open_listen_sockets(const ListenAddress& address, int count) {
  HOLDFAST_ASSERT(count > 0);
  return address.address.is_unix() ? open_unix(address, count) : open_tcp(address, count);
}

void close_listen_sockets(ListenSockets& sockets) {
  for (const int descriptor : std::exchange(sockets.descriptors, {})) ::close(descriptor);
  if (!sockets.address.is_unix()) return;
  const std::string path = file_of(sockets.address);
  // One that starts while this process drains finds the socket dead, and has replaced it by then.
  if (identity_of(path) == sockets.file) ::unlink(path.c_str());
}

// Accepts by itself on a polled descriptor: libuv's own way takes one connection more than is
// wanted, and with no descriptor left it closes what the kernel has queued, or spins. Freed in
// uv_close's callback. `descriptor` is -1 once it is closed.
struct UvListener::Handle final : private runtime::Timer {
  Handle(UvNetwork& uv_network, int listening, std::function<void(std::unique_ptr<Stream>)> accept)
      : network(uv_network), descriptor(listening), on_accept(std::move(accept)) {
    poll.data = this;
    HOLDFAST_ASSERT(uv_poll_init(network.loop().uv(), &poll, descriptor) == 0);
  }

  void watch();
  void unwatch() {
    cancel();
    uv_poll_stop(&poll);
  }
  void close();
  /// False if there is nothing more to take now.
  bool accept_one();
  void wait_for_descriptors();
  void fire() override { watch(); }
  bool closed() const { return descriptor < 0; }

  UvNetwork& network;
  int descriptor;
  std::function<void(std::unique_ptr<Stream>)> on_accept;
  uv_poll_t poll;
  bool paused = false;
  LiveHandle counted;
};

void UvListener::Handle::watch() {
  const auto on_readable = [](uv_poll_t* polled, int, int) {
    Handle& handle = *static_cast<Handle*>(polled->data);
    for (int i = 0; i < accepts_per_turn; ++i) {
      if (handle.closed() || handle.paused || !handle.accept_one()) return;
    }
  };
  HOLDFAST_ASSERT(uv_poll_start(&poll, UV_READABLE, on_readable) == 0);
}

void UvListener::Handle::close() {
  if (closed()) return;
  unwatch();
  uv_close(reinterpret_cast<uv_handle_t*>(&poll),
           [](uv_handle_t* handle) { delete static_cast<Handle*>(handle->data); });
  ::close(std::exchange(descriptor, -1));
}

bool UvListener::Handle::accept_one() {
  network.loop().begin_event();
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  const int connection = ::accept4(descriptor, raw, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (connection >= 0) {
    if (storage.ss_family == AF_UNIX) size = sizeof(sa_family_t);
    on_accept(UvStream::accepted(network, connection, Address::from_sockaddr(raw, size)));
    return true;
  }
  switch (errno) {
    case EAGAIN:
      return false;
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:  // the connection was broken before it was taken: the next one may not be
      return true;
    default:  // EMFILE, ENFILE, ENOBUFS, ENOMEM
      wait_for_descriptors();
      return false;
  }
}

// The connections stay where they are; looking again at once would spin.
void UvListener::Handle::wait_for_descriptors() {
  unwatch();
  const runtime::Context& context = network.loop().context();
  context.timers.arm(*this, after(context.now(), pause_without_descriptors));
}

UvListener::UvListener(UvNetwork& network, int descriptor,
                       std::function<void(std::unique_ptr<Stream>)> on_accept)
    : handle_(new Handle(network, descriptor, std::move(on_accept))) {
  handle_->watch();
}

UvListener::~UvListener() {
  if (handle_ != nullptr) handle_->close();
}

void UvListener::pause() {
  if (handle_ == nullptr || std::exchange(handle_->paused, true)) return;
  handle_->unwatch();
}

void UvListener::resume() {
  if (handle_ == nullptr || !std::exchange(handle_->paused, false)) return;
  handle_->watch();
}

bool UvListener::paused() const {
  return handle_ != nullptr && handle_->paused;
}

void UvListener::close_after_queue() {
  Handle* handle = std::exchange(handle_, nullptr);
  if (handle == nullptr) return;
  while (!handle->closed() && handle->accept_one()) {
  }
  handle->close();
}

}  // namespace holdfast::net
