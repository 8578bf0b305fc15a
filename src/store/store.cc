#include "holdfast/store/store.h"

#include "holdfast/base/assert.h"
#include "holdfast/store/memory_store.h"
#include "holdfast/store/redis_store.h"
#include "holdfast/store/sqlite_store.h"

namespace holdfast::store {

Result<std::unique_ptr<StoreBackend>, std::string> open_backend(const StoreOptions& options,
                                                                Logger& logger) {
  static const SystemClock clock;
  switch (options.kind) {
    case StoreKind::memory:
      return std::unique_ptr<StoreBackend>(
          std::make_unique<MemoryStore>(options.max_bytes, clock, logger));
    case StoreKind::local: {
      auto local = LocalStore::open(options, clock, logger);
      if (!local) return unexpected(local.error());
      return std::unique_ptr<StoreBackend>(*std::move(local));
    }
    case StoreKind::redis:
      return open_redis_backend(options, logger);
  }
  HOLDFAST_ASSERT(false);
  return unexpected(std::string());
}

std::string_view name(StoreKind kind) {
  switch (kind) {
    case StoreKind::local:
      return "local";
    case StoreKind::memory:
      return "memory";
    case StoreKind::redis:
      return "redis";
  }
  return "";
}

std::string_view name(StoreError::Kind kind) {
  switch (kind) {
    case StoreError::Kind::unavailable:
      return "unavailable";
    case StoreError::Kind::timeout:
      return "timeout";
    case StoreError::Kind::refused:
      return "refused";
    case StoreError::Kind::corrupt:
      return "corrupt";
    case StoreError::Kind::full:
      return "full";
    case StoreError::Kind::evicting:
      return "evicting";
    case StoreError::Kind::replicas:
      return "replicas";
  }
  return "";
}

}  // namespace holdfast::store
