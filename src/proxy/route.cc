#include "holdfast/proxy/route.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>

#include "holdfast/base/text.h"

namespace holdfast::proxy {
namespace {

/// "/v1" takes "/v1" and "/v1/…"; "/v1/" takes what begins with it.
bool has_prefix(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return false;
  return path.size() == prefix.size() || prefix.empty() || prefix.back() == '/' ||
         path[prefix.size()] == '/';
}

bool is_wildcard(std::string_view host) {
  return host.starts_with("*.");
}

/// ".x" of "*.x".
std::string_view wildcard_suffix(std::string_view host) {
  return host.substr(1);
}

/// True for at least one character before the suffix.
bool has_suffix(std::string_view host, std::string_view suffix) {
  return host.size() > suffix.size() && iequals(host.substr(host.size() - suffix.size()), suffix);
}

bool host_matches(std::string_view wanted, std::string_view host) {
  if (wanted.empty()) return true;
  return is_wildcard(wanted) ? has_suffix(host, wildcard_suffix(wanted)) : iequals(wanted, host);
}

bool method_matches(const std::vector<std::string>& wanted, std::string_view method) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), method) != wanted.end();
}

bool has_field(const http::Fields& fields, std::string_view name, std::string_view value) {
  return std::any_of(fields.begin(), fields.end(), [name, value](const http::Field& field) {
    return field.value == value && iequals(field.name, name);
  });
}

using Candidates = std::vector<int>;  // route indexes, ascending

/// Looked up by views, without making a string.
struct PathHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

struct HostHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view host) const {
    std::uint64_t hash = 14695981039346656037u;  // FNV-1a
    for (const char c : host) {
      hash = (hash ^ static_cast<unsigned char>(ascii_lower(c))) * 1099511628211u;
    }
    return static_cast<std::size_t>(hash);
  }
};

struct HostEqual {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return iequals(a, b); }
};

void add_length(std::vector<std::size_t>& lengths, std::size_t length) {
  if (std::find(lengths.begin(), lengths.end(), length) == lengths.end()) lengths.push_back(length);
}

/// The routes of one host condition, by path. A prefix is looked up once for each length that some
/// prefix has: what a client sends, however many slashes it has, does not add to the work.
class PathIndex {
 public:
  void add(const MatchConfig& match, int route) {
    switch (match.path_kind) {
      case MatchConfig::PathKind::exact:
        exact_[match.path].push_back(route);
        break;
      case MatchConfig::PathKind::prefix:
        prefixes_[match.path].push_back(route);
        add_length(prefix_lengths_, match.path.size());
        break;
      case MatchConfig::PathKind::regex:
      case MatchConfig::PathKind::any:
        in_order_.push_back(route);
        break;
    }
  }

  /// Calls visit(candidates) for each list of routes whose exact path or prefix fits, and for the
  /// rest.
  template <class Visit>
  void for_each(std::string_view path, const Visit& visit) const {
    if (!exact_.empty()) {
      if (const auto found = exact_.find(path); found != exact_.end()) visit(found->second);
    }
    for (const std::size_t length : prefix_lengths_) {
      const std::string_view prefix = path.substr(0, length);
      if (prefix.size() < length || !has_prefix(path, prefix)) continue;
      if (const auto found = prefixes_.find(prefix); found != prefixes_.end()) visit(found->second);
    }
    visit(in_order_);
  }

 private:
  using Table = std::unordered_map<std::string, Candidates, PathHash, std::equal_to<>>;

  Table exact_;
  Table prefixes_;
  std::vector<std::size_t> prefix_lengths_;
  Candidates in_order_;
};

}  // namespace

struct RouteTable::Index {
  using Hosts = std::unordered_map<std::string, PathIndex, HostHash, HostEqual>;

  explicit Index(const std::vector<RouteConfig>& routes) : patterns(routes.size()) {
    for (std::size_t i = 0; i < routes.size(); ++i) add(routes[i].match, static_cast<int>(i));
  }

  void add(const MatchConfig& match, int route) {
    if (match.path_kind == MatchConfig::PathKind::regex) {
      RE2::Options options;
      options.set_log_errors(false);  // the loader has reported them
      patterns[static_cast<std::size_t>(route)] = std::make_unique<RE2>(match.path, options);
    }
    paths_of(match.host).add(match, route);
  }

  PathIndex& paths_of(std::string_view host) {
    if (host.empty()) return any_host;
    if (!is_wildcard(host)) return exact_hosts[std::string(host)];
    const std::string_view suffix = wildcard_suffix(host);
    add_length(suffix_lengths, suffix.size());
    return host_suffixes[std::string(suffix)];
  }

  /// Calls visit(candidates) for lists that together hold every route whose host and path may fit.
  template <class Visit>
  void for_each(std::string_view host, std::string_view path, const Visit& visit) const {
    if (!exact_hosts.empty()) {
      const auto found = exact_hosts.find(host);
      if (found != exact_hosts.end()) found->second.for_each(path, visit);
    }
    for (const std::size_t length : suffix_lengths) {
      if (host.size() <= length) continue;
      const auto found = host_suffixes.find(host.substr(host.size() - length));
      if (found != host_suffixes.end()) found->second.for_each(path, visit);
    }
    any_host.for_each(path, visit);
  }

  bool path_matches(const MatchConfig& match, int route, std::string_view path) const {
    switch (match.path_kind) {
      case MatchConfig::PathKind::any:
        return true;
      case MatchConfig::PathKind::exact:
        return path == match.path;
      case MatchConfig::PathKind::prefix:
        return has_prefix(path, match.path);
      case MatchConfig::PathKind::regex:
        return RE2::PartialMatch(re2::StringPiece(path.data(), path.size()),
                                 *patterns[static_cast<std::size_t>(route)]);
    }
    return false;
  }

  std::vector<std::unique_ptr<RE2>> patterns;  // by route; null where there is none
  Hosts exact_hosts;
  Hosts host_suffixes;
  std::vector<std::size_t> suffix_lengths;
  PathIndex any_host;
};

namespace {

/// The conditions that need no index, the cheapest first.
bool others_match(const MatchConfig& match, const RouteTable::Input& input) {
  return (match.listener.empty() || match.listener == input.listener) &&
         method_matches(match.methods, input.method_text) &&
         std::all_of(match.headers.begin(), match.headers.end(), [&input](const auto& header) {
           return has_field(input.fields, header.first, header.second);
         });
}

}  // namespace

RouteTable::RouteTable(const Config& config)
    : config_(config), index_(std::make_unique<Index>(config.routes)) {}

RouteTable::~RouteTable() = default;

int RouteTable::match(const Input& input) const {
  const std::string_view host = host_of(input.authority);
  int best = static_cast<int>(config_.routes.size());
  index_->for_each(host, input.path, [&](const Candidates& candidates) {
    for (const int route : candidates) {
      if (route >= best) return;
      const MatchConfig& match = config_.routes[static_cast<std::size_t>(route)].match;
      if (!others_match(match, input) || !index_->path_matches(match, route, input.path)) continue;
      best = route;
      return;
    }
  });
  return best < static_cast<int>(config_.routes.size()) ? best : -1;
}

std::string RouteTable::mismatch(int route, const Input& input) const {
  const MatchConfig& match = config_.routes.at(static_cast<std::size_t>(route)).match;
  if (!match.listener.empty() && match.listener != input.listener) return "listener";
  if (!host_matches(match.host, host_of(input.authority))) return "host";
  if (!index_->path_matches(match, route, input.path)) return "path";
  if (!method_matches(match.methods, input.method_text)) return "method";
  for (const auto& [name, value] : match.headers) {
    if (!has_field(input.fields, name, value)) return "header " + name;
  }
  return "";
}

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  std::string_view host = authority.substr(0, authority.find(':'));
  if (host.size() > 1 && host.ends_with('.')) host.remove_suffix(1);
  return host;
}

}  // namespace holdfast::proxy
