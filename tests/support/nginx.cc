#include "tests/support/nginx.h"

#include <signal.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

#include "tests/support/socket.h"

namespace holdfast::testing {
namespace {

bool listens(int port) {
  try {
    Socket::connect("127.0.0.1:" + std::to_string(port));
    return true;
  } catch (const WireError&) {
    return false;
  }
}

}  // namespace

Nginx::Nginx(const Certificate& identity, std::string keys)
    : keys_(std::move(keys)), port_(free_port()) {
  write(identity);
  process_ = std::make_unique<ChildProcess>(std::vector<std::string>{
      "/usr/sbin/nginx", "-p", folder_.path(), "-e", "stderr", "-c", "nginx.conf"});
  if (!eventually([&] { return listens(port_); })) {
    throw std::runtime_error("nginx: " + process_->standard_error().text());
  }
}

// Not killed: its workers would stay.
Nginx::~Nginx() {
  process_->signal(SIGTERM);
  process_->wait_for_exit();
}

void Nginx::write(const Certificate& identity) {
  ++generation_;
  folder_.write("cert.pem", file_text(identity.cert_file()));
  folder_.write("key.pem", file_text(identity.key_file()));
  std::string paths;
  for (const std::string kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    paths += kind + "_temp_path " + kind + ";\n";
  }
  const std::string user = ::geteuid() == 0 ? "user root;\n" : "";
  const std::string told = std::to_string(generation_) +
                           " $ssl_protocol $ssl_session_reused $ssl_client_verify $ssl_server_name";
  folder_.write("nginx.conf",
                user +
                    "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr notice;\n"
                    "events { worker_connections 1024; }\nhttp {\naccess_log off;\n" +
                    paths + "keepalive_requests 100000;\nserver {\nlisten 127.0.0.1:" +
                    std::to_string(port_) +
                    " ssl;\nssl_certificate cert.pem;\nssl_certificate_key key.pem;\n"
                    "ssl_session_cache shared:s:1m;\n" +
                    keys_ + "\nlocation / { return 200 \"" + told + "\"; }\n}\n}\n");
}

void Nginx::rotate(const Certificate& identity) {
  write(identity);
  process_->signal(SIGHUP);
}

}  // namespace holdfast::testing
