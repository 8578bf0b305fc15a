// TlsCredentials: the TLS context in use, behind which a newer one may be put while connections
// begin: what a changed certificate file comes in by, with no new configuration.
//
// Contract: any thread may call anything. A connection takes current() when its handshake begins
// and holds it for as long as it needs it; replace() changes nothing of what was begun. Two
// connections have the same context if, and only if, their pointers are equal.
// REQUIRES: a context is never null.
// Cost: a mutex and a count for each handshake, none for a request.
// Ownership: shares its context with the connections that began under it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::net {

/// `Context`: TlsClientContext, or what a listener has.
template <class Context>
class TlsCredentials {
 public:
  explicit TlsCredentials(std::shared_ptr<const Context> context) : context_(std::move(context)) {
    HOLDFAST_ASSERT(context_ != nullptr);
  }

  std::shared_ptr<const Context> current() const {
    const std::lock_guard lock(mutex_);
    return context_;
  }

  void replace(std::shared_ptr<const Context> next) {
    HOLDFAST_ASSERT(next != nullptr);
    const std::lock_guard lock(mutex_);
    context_.swap(next);  // the old one ends with `next`, behind the lock
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Context> context_;
};

class TlsClientContext;
using TlsClientCredentials = TlsCredentials<TlsClientContext>;

}  // namespace holdfast::net
