/* Stands between a process and its disk: writes and syncs of files whose path contains
 * DISK_SHIM_PATH do what the file named by DISK_SHIM_ORDERS says at that moment: "fail-sync" and
 * "fail-write" end with EIO, "fill" with ENOSPC, "quota" with EDQUOT, "read-only" with EROFS,
 * "short-write" writes half of what it is given, "slow-sync" takes 300 ms; anything else, or no file,
 * is an ordinary disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int concerns(int descriptor) {
  const char* path = getenv("DISK_SHIM_PATH");
  char link[64];
  char target[4096];
  if (path == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = '\0';
  return strstr(target, path) != NULL;
}

static int ordered(const char* order) {
  const char* path = getenv("DISK_SHIM_ORDERS");
  char text[32] = "";
  if (path == NULL) return 0;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  return length > 0 && strncmp(text, order, strlen(order)) == 0;
}

/* 0, or the error that the call is to end with. */
static int trouble_of_sync(int descriptor) {
  const struct timespec pause = {0, 300000000};
  if (!concerns(descriptor)) return 0;
  if (ordered("slow-sync")) nanosleep(&pause, NULL);
  return ordered("fail-sync") ? EIO : 0;
}

static int trouble_of_write(int descriptor) {
  if (!concerns(descriptor)) return 0;
  if (ordered("fill")) return ENOSPC;
  if (ordered("quota")) return EDQUOT;
  if (ordered("read-only")) return EROFS;
  return ordered("fail-write") ? EIO : 0;
}

static int sync_by(const char* name, int descriptor) {
  int (*real)(int) = NULL;
  const int error = trouble_of_sync(descriptor);
  if (error != 0) {
    errno = error;
    return -1;
  }
  *(void**)&real = dlsym(RTLD_NEXT, name);
  return real(descriptor);
}

static ssize_t write_by(const char* name, int descriptor, const void* bytes, size_t count,
                        off_t at) {
  ssize_t (*real)(int, const void*, size_t, off_t) = NULL;
  const int error = trouble_of_write(descriptor);
  if (error != 0) {
    errno = error;
    return -1;
  }
  if (count > 1 && concerns(descriptor) && ordered("short-write")) count /= 2;
  *(void**)&real = dlsym(RTLD_NEXT, name);
  return real(descriptor, bytes, count, at);
}

int fsync(int descriptor) {
  return sync_by("fsync", descriptor);
}

int fdatasync(int descriptor) {
  return sync_by("fdatasync", descriptor);
}

ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t at) {
  return write_by("pwrite", descriptor, bytes, count, at);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t count, off64_t at) {
  return write_by("pwrite64", descriptor, bytes, count, at);
}
