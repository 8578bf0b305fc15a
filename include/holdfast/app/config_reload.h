// What a reload may not change, because something that lives on was made of it: worker threads, the
// admin listener, the store, and what tells one idempotency record from another.
//
// Contract: pure.
#pragma once

#include <string>

#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// The name of the first such change, as a person finds it in the file ("server.workers",
/// "idempotency.scope of route \"charge\""), or "".
///
/// A route's identity is compared with that of the route of the same name, where idempotency is
/// enabled in both: to enable it, to disable it and to take a route away change no record.
std::string unchangeable(const proxy::Config& before, const proxy::Config& after);

}  // namespace holdfast::app
