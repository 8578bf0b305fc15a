// Configuration files: an error has its place, and what is accepted can be shown and read again.
#include <string>

#include "holdfast/app/config_loader.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  const std::string_view document(reinterpret_cast<const char*>(data), size);
  // No file is read beyond the document.
  for (const char* file : {"_file", "cert", "key", "ca"}) {
    if (document.find(file) != document.npos) return -1;
  }
  const app::Environment environment = {{"SET", "value"}};
  const auto loaded = app::load_document("fuzz.toml", document, environment);
  if (!loaded) {
    promise(loaded.error().render().starts_with("fuzz.toml:"), "an error has its place");
    promise(!loaded.error().first_place().empty(), "an error has a first place");
  }
  return 0;
}
