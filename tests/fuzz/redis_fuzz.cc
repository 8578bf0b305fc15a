// Replies of a Redis, in any cut: the same replies, or an error. And URLs: what is read of one
// never shows its password.
#include <string>

#include "holdfast/store/redis_codec.h"
#include "holdfast/store/redis_url.h"
#include "tests/fuzz/fuzz.h"

namespace holdfast::fuzz {
namespace {

void tell(std::string& told, const store::RedisReply& reply) {
  told += std::to_string(static_cast<int>(reply.kind)) + ":" + std::to_string(reply.integer) + ":" +
          reply.text + "(";
  for (const store::RedisReply& element : reply.elements) tell(told, element);
  told += ")";
}

std::string read(std::string_view bytes, std::size_t step) {
  store::RedisReader reader;
  std::string told;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    reader.feed(piece);
    for (;;) {
      const auto reply = reader.next();
      if (!reply) return told + "error";
      if (!*reply) break;
      tell(told, **reply);
    }
  }
  return told;
}

}  // namespace
}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  Input input(data, size);
  const std::size_t step = 1 + input.byte() % 16;
  promise(read(input.rest(), size + 1) == read(input.rest(), step), "the cut changes nothing");

  if (auto url = store::parse_redis_url(input.rest())) {
    const std::string shown = url->text();
    url->user = url->password = "secret";
    promise(url->text() == shown, "what is shown does not depend on user and password");
  }
  return 0;
}
