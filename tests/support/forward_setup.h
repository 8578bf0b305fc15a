// ForwardSetup: configurations of a listener in forward mode, and names that lead to this machine.
#pragma once

#include <string>
#include <string_view>

#include "tests/support/private_machine.h"
#include "tests/support/suite.h"

namespace holdfast::testing {

/// True where the kernel lets no test have names of its own: those of a hosts file.
inline bool no_machine() {
  static const PrivateMachine machine;
  machine.hosts(
      "127.0.0.1 localhost app.internal other.internal deep.app.internal internal outside.test\n");
  if (!machine.why_not().empty()) MESSAGE("skipped: " << machine.why_not());
  return !machine.why_not().empty();
}

inline std::string port_of(std::string_view address) {
  return std::string(address.substr(address.rfind(':') + 1));
}

/// A listener in forward mode, at a port of its own, beside whatever `more` says.
struct Forward {
  explicit Forward(const std::string& more, const std::string& listener = "")
      : address("127.0.0.1:" + std::to_string(free_port())),
        text("[[listener]]\nname = \"proxy\"\nlisten = \"" + address + "\"\nmode = \"forward\"\n" +
             listener + "\n" + more) {}
  std::string address;
  std::string text;
};

/// A route and an upstream "internal" of all hosts of .internal, at that port.
inline std::string wildcard(const std::string& port, const std::string& route = "") {
  return "[upstream.internal]\nendpoints = [\"http://*.internal:" + port + "\"]\n[[route]]\n" +
         "name = \"internal\"\nmatch = { host = \"*.internal\" }\nupstream = \"internal\"\n" +
         route + "\n";
}

/// A CONNECT and its answer.
inline Response tunnel_to(RawClient& client, const std::string& authority,
                          std::string_view behind = "") {
  client.send("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n" +
              std::string(behind));
  return client.read_response("CONNECT");
}

}  // namespace holdfast::testing
