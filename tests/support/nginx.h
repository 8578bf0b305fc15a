// Nginx: a real nginx for a test, with TLS and one worker, in a folder that goes away with it.
//
// Contract: the constructor returns when it listens. Every answer's body tells what nginx saw:
// "GENERATION PROTOCOL REUSED VERIFIED NAME", as in "1 TLSv1.3 r SUCCESS localhost" (REUSED is "r"
// or ".", VERIFIED the client's certificate or "NONE", NAME that of SNI or nothing). Nothing but
// the process started here is ever signalled.
#pragma once

#include <memory>
#include <string>

#include "tests/support/certificates.h"
#include "tests/support/child_process.h"

namespace holdfast::testing {

class Nginx {
 public:
  /// `keys`: more lines for its `server` block.
  explicit Nginx(const Certificate& identity, std::string keys = "");
  ~Nginx();

  std::string url() const { return "https://127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  /// Another certificate, with a reload that counts a generation. Returns at once.
  void rotate(const Certificate& identity);
  int generation() const { return generation_; }

 private:
  void write(const Certificate& identity);

  TemporaryFolder folder_;
  std::string keys_;
  int port_;
  int generation_ = 0;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace holdfast::testing
