#include "holdfast/runtime/task.h"

#include <array>
#include <new>

namespace holdfast::runtime {
namespace {

// Frames are kept in classes of 64 bytes. Larger ones are rare (a frame per connection at most) and
// go to the heap. Under a sanitizer nothing is kept, so that a use after free is seen.
constexpr std::size_t class_bytes = 64;
constexpr std::size_t class_count = 64;
constexpr std::size_t max_kept_in_class = 256;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // g++
constexpr bool keeps_frames = false;
#elif defined(__has_feature)  // clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool keeps_frames = false;
#else
constexpr bool keeps_frames = true;
#endif
#else
constexpr bool keeps_frames = true;
#endif

struct FreeFrame {
  FreeFrame* next;
};

struct FrameClass {
  FreeFrame* first = nullptr;
  std::size_t count = 0;
};

thread_local std::array<FrameClass, class_count> free_frames;
thread_local std::size_t live_frame_count = 0;

constexpr std::size_t class_of(std::size_t size) {
  return (size + class_bytes - 1) / class_bytes;
}

}  // namespace

void* allocate_frame(std::size_t size) {
  ++live_frame_count;
  const std::size_t index = class_of(size);
  if (!keeps_frames || index >= class_count) return ::operator new(size);
  FrameClass& frames = free_frames[index];
  if (frames.first == nullptr) return ::operator new(index* class_bytes);
  FreeFrame* frame = frames.first;
  frames.first = frame->next;
  --frames.count;
  return frame;
}

void free_frame(void* memory, std::size_t size) noexcept {
  HOLDFAST_ASSERT(live_frame_count > 0);
  --live_frame_count;
  const std::size_t index = class_of(size);
  if (!keeps_frames || index >= class_count || free_frames[index].count >= max_kept_in_class) {
    ::operator delete(memory);
    return;
  }
  FrameClass& frames = free_frames[index];
  frames.first = new (memory) FreeFrame{frames.first};
  ++frames.count;
}

std::size_t live_frames() noexcept {
  return live_frame_count;
}

void release_free_frames() noexcept {
  for (FrameClass& frames : free_frames) {
    while (frames.first != nullptr) {
      FreeFrame* frame = frames.first;
      frames.first = frame->next;
      ::operator delete(frame);
    }
    frames.count = 0;
  }
}

}  // namespace holdfast::runtime
