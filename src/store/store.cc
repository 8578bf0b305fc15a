#include "holdfast/store/store.h"

namespace holdfast::store {

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
