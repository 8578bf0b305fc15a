#include "tests/support/redis_server.h"

#include <signal.h>
#include <sys/wait.h>

#include <stdexcept>
#include <utility>

#include "tests/support/socket.h"

namespace holdfast::testing {
namespace {

constexpr int attempts = 5;  // to find a port that is still free when the server takes it

std::string in_resp(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

std::string receive_all(Socket& socket) {
  std::string all;
  for (;;) {
    const std::string bytes = socket.receive(1 << 16);
    if (bytes.empty()) return all;
    all += bytes;
  }
}

std::string value_after(const std::vector<std::string>& options, std::string_view name) {
  for (std::size_t i = 0; i + 1 < options.size(); ++i) {
    if (options[i] == name) return options[i + 1];
  }
  return "";
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> options)
    : options_(std::move(options)), password_(value_after(options_, "--requirepass")) {
  for (int attempt = 0; attempt < attempts; ++attempt) {
    port_ = static_cast<std::uint16_t>(free_port());
    start();
    if (process_->running()) return;
  }
  throw std::runtime_error("redis-server does not start: " + process_->standard_output().text());
}

RedisServer::~RedisServer() {
  thaw();  // or its end would wait for ever
}

std::string RedisServer::url() const {
  return "redis://127.0.0.1:" + std::to_string(port_) + "/0";
}

std::string RedisServer::command(const std::vector<std::string>& words) const {
  constexpr std::string_view ok = "+OK\r\n";
  Socket socket = Socket::connect("127.0.0.1:" + std::to_string(port_));
  std::string text;
  if (!password_.empty()) text += in_resp({"AUTH", password_});
  text += in_resp(words) + in_resp({"QUIT"});
  socket.send(text);
  std::string reply = receive_all(socket);
  if (!password_.empty() && reply.starts_with(ok)) reply.erase(0, ok.size());
  if (reply.ends_with(ok)) reply.erase(reply.size() - ok.size());
  if (reply.ends_with("\r\n")) reply.erase(reply.size() - 2);
  return reply;
}

void RedisServer::kill() {
  process_.reset();
}

void RedisServer::start(const std::vector<std::string>& more) {
  process_.reset();
  std::vector<std::string> words{"/usr/bin/redis-server",
                                 "--port",
                                 std::to_string(port_),
                                 "--bind",
                                 "127.0.0.1",
                                 "--unixsocket",
                                 socket_path(),
                                 "--dir",
                                 folder_.path(),
                                 "--save",
                                 "",
                                 "--appendonly",
                                 "no",
                                 "--repl-diskless-sync-delay",
                                 "0"};
  words.insert(words.end(), options_.begin(), options_.end());
  words.insert(words.end(), more.begin(), more.end());
  process_ = std::make_unique<ChildProcess>(words);
  const bool answered = eventually([this] {
    if (!process_->running()) return true;
    try {
      return !command({"PING"}).empty();
    } catch (const WireError&) {
      return false;
    }
  });
  if (!answered) throw std::runtime_error("redis-server does not answer");
}

void RedisServer::freeze() {
  process_->signal(SIGSTOP);
  // The signal is sent; stopped it is a moment later.
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(process_->pid()), &info, WSTOPPED | WNOWAIT);
}

void RedisServer::thaw() {
  if (process_ != nullptr) process_->signal(SIGCONT);
}

}  // namespace holdfast::testing
