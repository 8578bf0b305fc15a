// Names of headers in the configuration: which ones it may speak of, and where.
//
// Contract: pure. The rules see one name; check_underscores() sees the whole tree, reports what is
// wrong with it and repeats nothing that a rule has said.
#pragma once

#include <string_view>

#include "holdfast/app/config_diagnostics.h"
#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_tree.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

bool is_header_name(std::string_view text);
/// True for fields that belong to a connection or to framing: no configuration may set or pass
/// them.
bool is_framing_header(std::string_view name);
/// True for those, and for Via, Max-Forwards and Expect: holdfast writes them for its own hop.
bool is_own_header(std::string_view name);
/// A header that a key may come in.
bool is_key_header(std::string_view text);
/// One of the user's own that holds the time which is left, or "": no field that means something
/// else.
bool is_deadline_header(std::string_view text);
/// What `remove_headers` may name: not what holdfast sets itself.
bool is_removable_header(std::string_view text);
/// What may stand behind a body: no field for framing, routing, authentication or about the
/// content (RFC 9110 §6.5.1).
bool is_trailer(std::string_view text);

inline constexpr TextRule key_header_rule = {"the name of a header that a client may send",
                                             is_key_header};
inline constexpr TextRule deadline_header_rule = {
    R"(the name of a header that means nothing else, such as "X-Deadline-Ms", or "")",
    is_deadline_header};
inline constexpr TextRule removable_rule = {
    "the name of a header that holdfast does not set itself", is_removable_header};
inline constexpr TextRule trailer_rule = {"the name of a header that may be a trailer", is_trailer};

/// Who uses a list of headers: some names would break a message if they were set.
enum class HeaderUse : bool { match, set };
/// { Name = "value", … }
void read_headers(Reader& keys, std::string_view key, proxy::HeaderList& headers, HeaderUse use);

/// Unless server.underscore_headers lets them through, no request has a field with "_" in its name:
/// nothing may depend on one.
void check_underscores(const Node& root, proxy::UnderscoreHeaders policy, Diagnostics& diagnostics);

}  // namespace holdfast::app
