// RouteTable: which route takes a request. The first that matches wins, in the file's order.
//
// Contract: immutable after construction, so any number of threads may ask it (each worker holds
// its own all the same). match() does not allocate for hosts, exact paths and prefixes. A route
// matches when each condition it has holds: listener; host (exact, or "*.x" for one or more labels
// before .x; case and port are ignored); path exact, prefix ("/v1" matches "/v1" and "/v1/…", never
// "/v1x"; a prefix that ends in "/" matches what begins with it), or RE2 search (unanchored) on the
// path; method; every header with exactly that value (one of several lines is enough). Path
// matching sees the bytes as they came: nothing is decoded or normalised. Cost: candidates are
// found by host and path in hash tables, so 1,000 routes cost what ten do; routes with a regular
// expression, or without host and path, are tried in order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/http/message.h"
#include "holdfast/proxy/config.h"

namespace holdfast::proxy {

class RouteTable {
 public:
  /// Keeps a reference to the routes of `config`, which must outlive the table. The patterns have
  /// been checked by the loader.
  explicit RouteTable(const Config& config);
  ~RouteTable();
  RouteTable(const RouteTable&) = delete;
  RouteTable& operator=(const RouteTable&) = delete;

  struct Input {
    std::string_view listener;
    std::string_view authority;  // as in Host, port and all
    std::string_view path;
    http::Method method;
    std::string_view method_text;
    const http::Fields& fields;
  };

  /// Index into config.routes, or -1.
  int match(const Input& input) const;

  /// The first condition that keeps `route` from taking the request ("listener", "host", "path",
  /// "method", "header X-Tier"), or "" if it would take it. For `holdfast explain`.
  std::string mismatch(int route, const Input& input) const;

 private:
  struct Index;
  const Config& config_;
  std::unique_ptr<Index> index_;
};

/// The host of an authority as it was written, without its port and without the dot that may end an
/// absolute name: a route that refuses a host is not passed by writing it so. The brackets of an
/// IPv6 address stay.
std::string_view host_of(std::string_view authority);

}  // namespace holdfast::proxy
