#include "holdfast/app/candidate.h"

#include <utility>

#include "holdfast/app/config_reload.h"

namespace holdfast::app {
namespace {

/// Opens a socket for each worker and each listener that is not among `in_use`.
void open_new_listeners(Candidate& candidate, const std::set<std::string>& in_use, int workers) {
  for (const proxy::ListenerConfig& listener : candidate.loaded.config->listeners) {
    const std::string text = identity(listener);
    if (in_use.contains(text) || candidate.opened.contains(text)) continue;
    Result<net::ListenSockets, std::string> sockets =
        net::open_listen_sockets(listener.listen, workers);
    if (!sockets) {
      candidate.failure = "listener " + listener.name + ": " + sockets.error();
      close_opened(candidate);
      return;
    }
    candidate.opened.emplace(text, std::move(*sockets));
  }
}

/// A reload may bring the first route that keeps records.
void open_store(Candidate& candidate, Logger& logger) {
  auto opened = store::open_backend(candidate.loaded.config->store, logger);
  if (opened) {
    candidate.backend = std::move(*opened);
  } else {
    candidate.failure = "store: " + opened.error();
    close_opened(candidate);
  }
}

Candidate refused(std::string why) {
  Candidate candidate;
  candidate.failure = std::move(why);
  return candidate;
}

}  // namespace

std::string identity(const proxy::ListenerConfig& listener) {
  const net::Address& address = listener.listen.address;
  const bool any_port = !address.is_unix() && address.port() == 0;
  return any_port ? listener.listen.text + " " + listener.name : listener.listen.text;
}

Candidate first_candidate(const LoadedConfig& loaded, int workers) {
  Candidate candidate;
  candidate.loaded = loaded;
  candidate.published = std::make_shared<proxy::PublishedConfig>(loaded.config);
  open_new_listeners(candidate, {}, workers);
  return candidate;
}

Candidate next_candidate(const CandidateWish& wish, Logger& logger) {
  Result<LoadedConfig, ConfigFailure> loaded =
      load_config(wish.path, process_environment(), wish.in_use.get());
  if (!loaded) return refused(loaded.error().first_place());
  const std::string fixed = unchangeable(*wish.in_use, *loaded->config);
  if (!fixed.empty()) {
    return refused(wish.path + ": " + fixed + " cannot change while holdfast runs; restart it");
  }
  Candidate candidate;
  candidate.loaded = std::move(*loaded);
  candidate.published = std::make_shared<proxy::PublishedConfig>(candidate.loaded.config);
  open_new_listeners(candidate, wish.listening, wish.workers);
  const bool needs_store = !wish.has_store && candidate.loaded.config->needs_store();
  if (candidate.failure.empty() && needs_store) open_store(candidate, logger);
  return candidate;
}

void close_opened(Candidate& candidate) {
  for (auto& [text, sockets] : candidate.opened) net::close_listen_sockets(sockets);
  candidate.opened.clear();
}

}  // namespace holdfast::app
