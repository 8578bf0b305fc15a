#include "holdfast/net/name_service.h"

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::net {

struct NameService::State {
  struct LookUp {
    std::vector<Asker*> askers;
    Wish wish = Wish::of_client;  // of anybody who asked: configured, if one did
    bool under_way = false;
  };
  struct Worker {
    std::thread thread;
    bool busy = false;
  };

  std::deque<std::string>& line_of(Wish wish) {
    return wish == Wish::configured ? line : clients_line;
  }
  /// How many of those in line may be looked up now.
  std::size_t ready() const {
    return line.size() + std::min(clients_line.size(), max_of_clients - of_clients);
  }
  /// REQUIRES: ready() > 0.
  std::string take_next() {
    std::deque<std::string>& from = line.empty() ? clients_line : line;
    std::string host = std::move(from.front());
    from.pop_front();
    return host;
  }

  Ask ask;
  std::size_t max_threads = 1;
  std::size_t max_of_clients = 1;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, LookUp, std::less<>> look_ups;  // in line or under way
  std::deque<std::string> line;                         // of configured names
  std::deque<std::string> clients_line;
  std::size_t of_clients = 0;  // under way, of Wish::of_client
  std::deque<Worker> workers;
  std::size_t idle = 0;
  bool stopping = false;
};

NameService::NameService(std::size_t max_threads, Ask ask) : state_(std::make_shared<State>()) {
  HOLDFAST_ASSERT(max_threads > 0);
  state_->ask = std::move(ask);
  state_->max_threads = max_threads;
  state_->max_of_clients = std::max<std::size_t>(max_threads / 2, 1);
  const std::lock_guard lock(state_->mutex);
  add_thread();
  HOLDFAST_ASSERT(!state_->workers.empty());
}

NameService::~NameService() {
  std::vector<std::thread> ending;
  {
    const std::lock_guard lock(state_->mutex);
    HOLDFAST_ASSERT(std::ranges::all_of(
        state_->look_ups, [](const auto& entry) { return entry.second.askers.empty(); }));
    state_->stopping = true;
    for (State::Worker& worker : state_->workers) {
      // One that waits for a name server may do so for half a minute yet.
      if (worker.busy) {
        worker.thread.detach();
      } else {
        ending.push_back(std::move(worker.thread));
      }
    }
  }
  state_->changed.notify_all();
  for (std::thread& thread : ending) thread.join();
}

std::size_t NameService::threads() const {
  const std::lock_guard lock(state_->mutex);
  return state_->workers.size();
}

/// REQUIRES: the lock is held. Does nothing if the machine refuses a thread.
void NameService::add_thread() {
  State::Worker& worker = state_->workers.emplace_back();
  const std::size_t index = state_->workers.size() - 1;
  try {
    worker.thread = std::thread([state = state_, index] { work(state, index); });
    ++state_->idle;
  } catch (const std::system_error&) {
    state_->workers.pop_back();
  }
}

void NameService::work(const std::shared_ptr<State>& state, std::size_t self) {
  pthread_setname_np(pthread_self(), "holdfast-names");
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&] { return state->stopping || state->ready() > 0; });
    if (state->stopping) return;
    const std::string host = state->take_next();
    State::LookUp& look_up = state->look_ups.at(host);
    look_up.under_way = true;
    const std::size_t clients = look_up.wish == Wish::of_client ? 1 : 0;
    state->of_clients += clients;
    state->workers[self].busy = true;
    --state->idle;
    lock.unlock();
    auto answer = std::make_shared<const Answer>(state->ask(host));
    lock.lock();
    if (state->stopping) return;
    state->of_clients -= clients;
    state->workers[self].busy = false;
    ++state->idle;
    // A place for a client's may be free, and this thread take another.
    state->changed.notify_one();
    const auto done = state->look_ups.extract(host);
    for (Asker* asker : done.mapped().askers) asker->answered_(answer);
  }
}

void NameService::add(Asker& asker) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->look_ups.find(asker.host_);
  const bool is_new = found == state_->look_ups.end();
  if (is_new && asker.wish_ == Wish::of_client && state_->clients_line.size() >= max_in_line) {
    asker.answered_(std::make_shared<const Answer>(unexpected(std::string(refusal))));
    return;
  }
  State::LookUp& look_up = is_new ? state_->look_ups[asker.host_] : found->second;
  look_up.askers.push_back(&asker);
  const bool goes_before = asker.wish_ == Wish::configured && look_up.wish == Wish::of_client;
  if (!is_new && (look_up.under_way || !goes_before)) return;
  if (!is_new) std::erase(state_->clients_line, asker.host_);
  look_up.wish = asker.wish_;
  state_->line_of(asker.wish_).push_back(asker.host_);
  if (state_->ready() > state_->idle && state_->workers.size() < state_->max_threads) add_thread();
  state_->changed.notify_one();
}

void NameService::withdraw(Asker& asker) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->look_ups.find(asker.host_);
  if (found == state_->look_ups.end()) return;  // answered, and another may be asking since
  std::erase(found->second.askers, &asker);
  if (!found->second.askers.empty() || found->second.under_way) return;
  std::erase(state_->line_of(found->second.wish), asker.host_);
  state_->look_ups.erase(found);
}

NameService::Asker::Asker(NameService& names, std::string_view host, Wish wish,
                          std::function<void(std::shared_ptr<const Answer>)> answered)
    : names_(names), host_(host), wish_(wish), answered_(std::move(answered)) {
  names_.add(*this);
}

NameService::Asker::~Asker() {
  names_.withdraw(*this);
}

NameService::Answer NameService::ask_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, &::freeaddrinfo);
  if (status == EAI_SYSTEM) return unexpected(std::string(std::strerror(errno)));
  if (status != 0) return unexpected(std::string(::gai_strerror(status)));
  std::vector<Address> addresses;
  for (; found != nullptr; found = found->ai_next) {
    const Address address = Address::from_sockaddr(found->ai_addr, found->ai_addrlen);
    // A name may stand in /etc/hosts more than once.
    const bool known = std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    if (!known) addresses.push_back(address);
  }
  if (addresses.empty()) return unexpected(std::string("no address"));
  return addresses;
}

}  // namespace holdfast::net
