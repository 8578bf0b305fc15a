#include "tests/support/name_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cctype>

namespace holdfast::testing {
namespace {

constexpr std::size_t header_size = 12;
constexpr std::uint16_t type_a = 1;
constexpr std::uint16_t type_aaaa = 28;
constexpr std::uint32_t time_to_live = 86400;

void append_16(std::string& text, std::uint16_t number) {
  text.push_back(static_cast<char>(number >> 8));
  text.push_back(static_cast<char>(number & 0xff));
}

std::uint16_t read_16(std::string_view text, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(text[at]) << 8 |
                                    static_cast<unsigned char>(text[at + 1]));
}

/// The bytes of an address of the type that is asked for; "" for one of the other.
std::string address_bytes(const std::string& text, std::uint16_t type) {
  char bytes[16];
  const int family = type == type_a ? AF_INET : type == type_aaaa ? AF_INET6 : AF_UNSPEC;
  if (::inet_pton(family, text.c_str(), bytes) != 1) return "";
  return std::string(bytes, type == type_a ? 4 : 16);
}

struct Question {
  std::string name;
  std::uint16_t type = 0;
  std::size_t end = 0;  // where what follows it begins
};

Question question_of(std::string_view packet) {
  Question question;
  std::size_t at = header_size;
  while (at < packet.size() && packet[at] != 0) {
    const auto size = static_cast<std::size_t>(packet[at]);
    if (!question.name.empty()) question.name += '.';
    for (const char c : packet.substr(at + 1, size)) {
      question.name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    at += size + 1;
  }
  question.end = at + 5;
  if (question.end <= packet.size()) question.type = read_16(packet, at + 1);
  return question;
}

}  // namespace

NameServer::NameServer(const std::string& ip, std::uint16_t port)
    : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
  if (::bind(socket_.descriptor(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("cannot serve names at " + ip);
  }
  server_ = std::thread([this] { serve(); });
}

NameServer::~NameServer() {
  ::shutdown(socket_.descriptor(), SHUT_RDWR);  // wakes it, though nothing is connected
  server_.join();
}

void NameServer::answer(const std::string& name, const std::vector<std::string>& addresses) {
  tell(name, {Kind::addresses, addresses});
}

void NameServer::tell(const std::string& name, Entry entry) {
  const std::lock_guard lock(mutex_);
  entries_[name] = std::move(entry);
}

void NameServer::down(bool down) {
  const std::lock_guard lock(mutex_);
  down_ = down;
}

std::size_t NameServer::questions(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = questions_.find(name);
  return found == questions_.end() ? 0 : found->second;
}

bool NameServer::wait_for_questions(const std::string& name, std::size_t count) const {
  return eventually([&] { return questions(name) > count; });
}

void NameServer::serve() {
  for (;;) {
    char packet[512];
    sockaddr_storage from{};
    socklen_t size = sizeof(from);
    const ssize_t got = ::recvfrom(socket_.descriptor(), packet, sizeof(packet), 0,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    if (got <= 0) return;
    const std::string reply = reply_to(std::string_view(packet, static_cast<std::size_t>(got)));
    if (reply.empty()) continue;
    ::sendto(socket_.descriptor(), reply.data(), reply.size(), 0,
             reinterpret_cast<sockaddr*>(&from), size);
  }
}

std::string NameServer::reply_to(std::string_view packet) {
  if (packet.size() < header_size + 5) return "";
  const Question question = question_of(packet);
  if (question.type == 0) return "";
  Entry entry;
  {
    const std::lock_guard lock(mutex_);
    ++questions_[question.name];
    if (down_) return "";
    const auto found = entries_.find(question.name);
    if (found != entries_.end()) entry = found->second;
  }
  if (entry.kind == Kind::silence) return "";

  std::string records;
  std::uint16_t count = 0;
  for (const std::string& address : entry.addresses) {
    const std::string bytes = address_bytes(address, question.type);
    if (bytes.empty()) continue;
    ++count;
    append_16(records, 0xc00c);  // the name, as in the question
    append_16(records, question.type);
    append_16(records, 1);
    append_16(records, time_to_live >> 16);
    append_16(records, time_to_live & 0xffff);
    append_16(records, static_cast<std::uint16_t>(bytes.size()));
    records += bytes;
  }
  const int code = entry.kind == Kind::no_such_name ? 3 : entry.kind == Kind::failure ? 2 : 0;
  std::string reply(packet.substr(0, 2));
  append_16(reply, static_cast<std::uint16_t>(0x8580 | code));  // an answer, authoritative
  append_16(reply, 1);
  append_16(reply, count);
  append_16(reply, 0);
  append_16(reply, 0);
  reply += packet.substr(header_size, question.end - header_size);
  return reply + records;
}

}  // namespace holdfast::testing
