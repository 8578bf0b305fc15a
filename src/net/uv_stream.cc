#include "holdfast/net/uv_stream.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/uv_network.h"

namespace holdfast::net {
namespace {

constexpr std::size_t pieces_per_write = 16;
constexpr std::size_t joined_up_to = 2048;
constexpr unsigned keep_alive_seconds = 60;

std::size_t bytes_of(std::span<const std::string_view> pieces) {
  std::size_t bytes = 0;
  for (const std::string_view piece : pieces) bytes += piece.size();
  return bytes;
}

Error broken(int status) {
  return {ErrorType::connection_terminated, uv_strerror(status)};
}

}  // namespace

// Freed in uv_close's callback. `owner` is null once the stream is gone: whatever libuv still
// reports then (it cancels what is in flight) finds nobody.
struct UvStream::Handle {
  explicit Handle(UvStream& of) : owner(&of) {}

  union {
    uv_handle_t any;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  uv_connect_t connect_request;
  uv_shutdown_t shutdown_request;
  UvStream* owner;
  Connecting* connecting = nullptr;
  LiveHandle counted;

  static UvStream* owner_of(const void* data) { return static_cast<const Handle*>(data)->owner; }
};

// Bytes that the kernel did not take at once.
struct UvStream::QueuedWrite {
  uv_write_t request;
  const Handle* handle;
  std::string bytes;
};

UvStream::UvStream(UvNetwork& network, int family)
    : Stream(network.loop().context().timers), network_(network), handle_(new Handle(*this)) {
  uv_loop_t* loop = network.loop().uv();
  const int status =
      family == AF_UNIX ? uv_pipe_init(loop, &handle_->pipe, 0) : uv_tcp_init(loop, &handle_->tcp);
  HOLDFAST_ASSERT(status == 0);
  handle_->any.data = handle_;
}

UvStream::~UvStream() {
  handle_->owner = nullptr;
  uv_close(&handle_->any, [](uv_handle_t* closed) { delete static_cast<Handle*>(closed->data); });
}

std::unique_ptr<UvStream> UvStream::accepted(UvNetwork& network, int descriptor,
                                             const Address& peer) {
  auto stream = std::make_unique<UvStream>(network, peer.family());
  const int status = stream->is_tcp() ? uv_tcp_open(&stream->handle_->tcp, descriptor)
                                      : uv_pipe_open(&stream->handle_->pipe, descriptor);
  HOLDFAST_ASSERT(status == 0);
  stream->established(peer);
  return stream;
}

int UvStream::start_connect(const Address& address, Connecting& connecting) {
  handle_->connecting = &connecting;
  handle_->connect_request.data = handle_;
  const auto on_connected = [](uv_connect_t* request, int status) {
    Handle& handle = *static_cast<Handle*>(request->data);
    if (handle.owner == nullptr) return;
    handle.owner->network_.loop().begin_event();
    handle.connecting->status = status;
    handle.connecting->ended.notify();
  };
  if (is_tcp()) {
    return uv_tcp_connect(&handle_->connect_request, &handle_->tcp, address.get(), on_connected);
  }
  sockaddr_un path{};
  std::memcpy(&path, address.get(), std::min<std::size_t>(address.size(), sizeof(path)));
  uv_pipe_connect(&handle_->connect_request, &handle_->pipe, path.sun_path, on_connected);
  return 0;
}

void UvStream::established(const Address& peer) {
  peer_ = peer;
  uv_fileno(&handle_->any, &descriptor_);
  // Neither can fail in a way that matters: a connection that is broken already tells its reader.
  if (is_tcp()) {
    uv_tcp_nodelay(&handle_->tcp, 1);
    uv_tcp_keepalive(&handle_->tcp, 1, keep_alive_seconds);
  }
  set_reading(true);
}

void UvStream::set_reading(bool reading) {
  if (!reading) {
    uv_read_stop(&handle_->stream);
    return;
  }
  const auto allocate = [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
    const UvStream* stream = Handle::owner_of(handle->data);
    *buffer = uv_buf_init(stream->network_.read_buffer_.get(), UvNetwork::read_buffer_bytes);
  };
  const auto on_read = [](uv_stream_t* handle, ssize_t count, const uv_buf_t* buffer) {
    Handle::owner_of(handle->data)->on_read(count, buffer->base);
  };
  HOLDFAST_ASSERT(uv_read_start(&handle_->stream, allocate, on_read) == 0);
}

void UvStream::on_read(long count, const char* bytes) {
  network_.loop().begin_event();
  if (count > 0) {
    deliver({bytes, static_cast<std::size_t>(count)});
  } else if (count == UV_EOF && pending_error() == 0) {
    deliver_end();
  } else if (count == UV_EOF) {
    // libuv takes a hang-up behind the last bytes for their end; a reset must not look like one.
    deliver_failure(broken(UV_ECONNRESET));
  } else if (count < 0) {
    deliver_failure(broken(static_cast<int>(count)));
  }
}

bool UvStream::send(std::span<const std::string_view> pieces) {
  HOLDFAST_ASSERT(!sending_ && !finished_);
  if (failure()) return true;
  bytes_sent_ += bytes_of(pieces);
  while (!pieces.empty()) {
    const auto batch = pieces.first(std::min(pieces.size(), pieces_per_write));
    const std::size_t written = try_write(batch);
    if (written < bytes_of(batch)) {
      queue(pieces, written);
      return false;
    }
    pieces = pieces.subspan(batch.size());
  }
  return true;
}

std::size_t UvStream::queued() const {
  return sending_ ? uv_stream_get_write_queue_size(&handle_->stream) : 0;
}

bool UvStream::still_quiet() {
  if (!Stream::still_quiet()) return false;
  char byte;
  const ssize_t peeked = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return peeked < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

// Past libuv, which would take write(2) or writev(2): on a socket they cost the kernel more.
// Nothing is queued with libuv now, so nothing is overtaken. An error counts as nothing written:
// the queued write meets it again and tells it from the loop.
std::size_t UvStream::try_write(std::span<const std::string_view> pieces) {
  std::array<iovec, pieces_per_write> buffers;
  std::size_t count = 0;
  for (const std::string_view piece : pieces) {
    // The kernel's buffers serve reading too, hence not const.
    if (!piece.empty()) buffers[count++] = {const_cast<char*>(piece.data()), piece.size()};
  }
  if (count == 0) return 0;
  // A copy of little costs less than a list of buffers.
  std::array<char, joined_up_to> joined;
  const std::size_t size = bytes_of(pieces);
  if (count > 1 && size <= joined.size()) {
    char* end = joined.data();
    for (const std::string_view piece : pieces) end = std::copy(piece.begin(), piece.end(), end);
    buffers[0] = {joined.data(), size};
    count = 1;
  }
  msghdr message{};
  message.msg_iov = buffers.data();
  message.msg_iovlen = count;
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  ssize_t written = 0;
  do {
    written = count == 1 ? ::send(descriptor_, buffers[0].iov_base, buffers[0].iov_len, flags)
                         : ::sendmsg(descriptor_, &message, flags);
  } while (written < 0 && errno == EINTR);
  return static_cast<std::size_t>(std::max<ssize_t>(0, written));
}

void UvStream::queue(std::span<const std::string_view> pieces, std::size_t skipped) {
  auto write = std::make_unique<QueuedWrite>();
  write->handle = handle_;
  write->request.data = write.get();
  write->bytes.reserve(bytes_of(pieces) - skipped);
  for (const std::string_view piece : pieces) {
    const std::size_t gone = std::min(skipped, piece.size());
    write->bytes.append(piece.substr(gone));
    skipped -= gone;
  }
  const uv_buf_t buffer =
      uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  const auto on_written = [](uv_write_t* request, int status) {
    const std::unique_ptr<QueuedWrite> done(static_cast<QueuedWrite*>(request->data));
    if (UvStream* stream = done->handle->owner) stream->on_written(status);
  };
  HOLDFAST_ASSERT(uv_write(&write.release()->request, &handle_->stream, &buffer, 1, on_written) ==
                  0);
  sending_ = true;
}

void UvStream::on_written(int status) {
  network_.loop().begin_event();
  if (status == 0) {
    deliver_sent();
  } else {
    take_last_input();
    deliver_failure(broken(status));
  }
}

// A peer that closes while we still write may have said why (an early answer): the kernel has it
// still.
void UvStream::take_last_input() {
  char* buffer = network_.read_buffer_.get();
  while (open_for_input() && input().size() < read_ahead_limit) {
    const ssize_t count = ::recv(descriptor_, buffer, UvNetwork::read_buffer_bytes, MSG_DONTWAIT);
    if (count <= 0) return;
    keep({buffer, static_cast<std::size_t>(count)});
  }
}

void UvStream::finish() {
  if (failure() || std::exchange(finished_, true)) return;
  // A peer that is gone is told to the reader; there is nothing to do here.
  uv_shutdown(&handle_->shutdown_request, &handle_->stream, [](uv_shutdown_t*, int) {});
}

// A unix socket knows no reset: its peer sees the end.
void UvStream::abort() {
  if (!is_tcp()) return;
  const linger at_once{1, 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

int UvStream::pending_error() const {
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

bool UvStream::is_tcp() const {
  return handle_->any.type == UV_TCP;
}

}  // namespace holdfast::net
