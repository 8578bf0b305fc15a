// Candidate: a configuration on its way into use: read and checked, what it needs and what is not
// there yet open.
//
// Contract: making one blocks, on files, sockets and, for a store, the network: never on a loop's
// thread. What goes wrong is in `failure`, nothing of it stays open, and what is in use is as it
// was.
// Ownership: whoever puts it into use takes the sockets out of `opened`; who does not, closes them.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "holdfast/app/config_loader.h"
#include "holdfast/base/log.h"
#include "holdfast/net/uv_listener.h"
#include "holdfast/proxy/cluster.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

struct Candidate {
  LoadedConfig loaded;
  std::shared_ptr<const proxy::PublishedConfig> published;
  std::map<std::string, net::ListenSockets> opened;  // by identity(): those not yet in use
  std::unique_ptr<store::StoreBackend> backend;      // where it needs the first one
  std::string failure;                               // "": all is well
};

/// What a reload begins with.
struct CandidateWish {
  std::string path = {};
  std::shared_ptr<const proxy::Config> in_use = nullptr;
  std::set<std::string> listening = {};  // identity() of the sockets in use
  int workers = 1;                       // each has a socket of its own for each listener
  bool has_store = false;
};

/// What makes a listener the same over a reload: its address as written, and its name where the
/// kernel chooses the port.
std::string identity(const proxy::ListenerConfig& listener);

/// The first one, of a file that has been read. Its store is opened by who starts.
Candidate first_candidate(const LoadedConfig& loaded, int workers);
/// The one of a reload.
Candidate next_candidate(const CandidateWish& wish, Logger& logger);
/// It is not put into use.
void close_opened(Candidate& candidate);

}  // namespace holdfast::app
