// `holdfast keys`: what became of an idempotency key, for a person who has to find out; and that
// person's word on it. Through the admin listener of the running instance.
//
// Contract: all but keys_show() and keys_resolve() is pure. A key and a scope's value leave this
// process as digests only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/digest.h"
#include "holdfast/base/result.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// Which record: by its id, or by what the client sent.
struct KeyQuestion {
  std::string id;                  // 64 hexadecimal digits; "": by what follows
  std::string route;               // its name
  std::string key;                 // as in the header, with or without quotes
  std::vector<std::string> scope;  // a value for each source of the route's `scope`, in its order
  std::string method = "POST";
};

/// The id that a request would have; the error is for the person who asked.
Result<Digest, std::string> record_id_of(const proxy::Config& config, const KeyQuestion& question);

/// A record as the admin listener tells it.
struct RecordView {
  std::string id;
  std::string state;
  policy::Milliseconds age{};
  policy::Milliseconds lease_left{};
  int attempt = 0;
  int status = 0;  // 0: none is stored
  std::string reason;
  std::string location;
  std::string etag;
};
/// nullopt for what is no record_page().
std::optional<RecordView> parse_record_page(std::string_view json);

/// Several lines: the record in words, what a client sees now, and what to do next.
std::string describe(const RecordView& record, const std::string& config_path);

/// What a command says, and its exit code.
struct KeyReport {
  int exit_code = 0;
  std::string text;  // for stdout, or for stderr if the code is not 0
};

/// `config_path` is for the text: the commands that it names.
KeyReport keys_show(const proxy::Config& config, const std::string& config_path,
                    const KeyQuestion& question);
KeyReport keys_resolve(const proxy::Config& config, const KeyQuestion& question, bool executed);

}  // namespace holdfast::app
