// Heads of records as a store gives them back: a store is not trusted. What is accepted can be sent
// as it is.
#include <string>

#include "holdfast/http/stored_head.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto fields = http::parse_stored_head(text);
  if (!fields) return 0;
  for (const http::Field& field : *fields) {
    promise(http::is_token(field.name), "a name is a token");
    promise(http::is_field_value(field.value), "a value has no control bytes");
  }
  return 0;
}
