#include "tests/support/private_machine.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace holdfast::testing {
namespace {

void write_to(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::trunc) << text;
}

}  // namespace

PrivateMachine::PrivateMachine() {
  if (!enter()) why_not_ = std::string("no namespaces may be made here: ") + std::strerror(errno);
}

bool PrivateMachine::enter() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  const int rights = user == 0 ? 0 : CLONE_NEWUSER;  // as root of one's own, where one is not
  if (::unshare(rights | CLONE_NEWNS | CLONE_NEWNET) != 0) return false;
  if (rights != 0) {
    write_to("/proc/self/setgroups", "deny");
    write_to("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
    write_to("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && bring_loopback_up() &&
         put_over("resolv.conf", "") && put_over("hosts", "127.0.0.1 localhost\n") &&
         put_over("nsswitch.conf", "hosts: files dns\n");
}

bool PrivateMachine::bring_loopback_up() {
  const Socket any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(any.descriptor(), SIOCGIFFLAGS, &request) != 0) return false;
  request.ifr_flags |= IFF_UP;
  return ::ioctl(any.descriptor(), SIOCSIFFLAGS, &request) == 0;
}

bool PrivateMachine::put_over(const std::string& name, std::string_view text) {
  const std::string path = files_.write(name, text);
  const std::string place = "/etc/" + name;
  if (::access(place.c_str(), F_OK) != 0) return name == "nsswitch.conf";  // libc has its own
  return ::mount(path.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) == 0;
}

void PrivateMachine::overwrite(const std::string& name, std::string_view text) const {
  write_to(files_.path() + "/" + name, text);
}

}  // namespace holdfast::testing
