/* The floor: what the kernel alone asks for a proxied request. Copies bytes and looks at none.
 *
 *   floor PORT UPSTREAM_PORT
 *
 * Every client connection gets one of its own to the upstream on loopback; what one sends is written
 * to the other. A small request costs two reads and two writes, and its part of an epoll_wait. One
 * thread; no time limit, no policy: nothing to put before a service. Started twice on one port, the
 * two share its connections. The end of either connection ends both.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { event_count = 256, buffer_bytes = 64 * 1024 };

/* One side of a pair, and what was read from it that the other has not taken yet. */
struct side {
  struct side* other;
  int socket;
  unsigned watched;
  size_t begin, end;
  char bytes[buffer_bytes];
};

struct pair {
  struct side sides[2];
  struct pair* next_ended;
  bool ended;
};

static int poll_set;
static struct pair* ended_pairs; /* freed when no event of the batch can name them any more */

static struct sockaddr_in loopback(const char* port) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  return address;
}

static void stop(const char* what) {
  perror(what);
  exit(3);
}

static void send_at_once(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int listen_on(const char* port) {
  const struct sockaddr_in address = loopback(port);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (bind(listener, (const struct sockaddr*)&address, sizeof address) != 0) stop("floor: bind");
  if (listen(listener, 1024) != 0) stop("floor: listen");
  return listener;
}

static void end_pair(struct pair* pair) {
  if (pair->ended) return;
  close(pair->sides[0].socket);
  close(pair->sides[1].socket);
  pair->ended = true;
  pair->next_ended = ended_pairs;
  ended_pairs = pair;
}

static void free_ended_pairs(void) {
  while (ended_pairs != NULL) {
    struct pair* next = ended_pairs->next_ended;
    free(ended_pairs);
    ended_pairs = next;
  }
}

/* A side is read while nothing of it waits, and written while something of the other does. */
static void watch(struct side* side) {
  const bool holds = side->begin < side->end;
  const bool owed = side->other->begin < side->other->end;
  const unsigned wanted = (holds ? 0u : (unsigned)EPOLLIN) | (owed ? (unsigned)EPOLLOUT : 0u);
  if (wanted == side->watched) return;
  struct epoll_event event = {.events = wanted, .data.ptr = side};
  epoll_ctl(poll_set, EPOLL_CTL_MOD, side->socket, &event);
  side->watched = wanted;
}

/* Writes what was read from `side` to the other; false if the pair is to end. */
static bool pass_on(struct side* side) {
  const ssize_t count = send(side->other->socket, side->bytes + side->begin,
                             side->end - side->begin, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0 && errno != EAGAIN) return false;
  if (count > 0) side->begin += (size_t)count;
  watch(side);
  watch(side->other);
  return true;
}

static bool read_from(struct side* side) {
  const ssize_t count = recv(side->socket, side->bytes, buffer_bytes, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  side->begin = 0;
  side->end = (size_t)count;
  return pass_on(side);
}

static bool serve(struct side* side, unsigned events) {
  if ((events & EPOLLOUT) != 0 && !pass_on(side->other)) return false;
  const bool readable = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
  return !readable || side->begin < side->end || read_from(side);
}

static void accept_one(int listener, const struct sockaddr_in* upstream) {
  const int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct pair* pair = malloc(sizeof *pair);
  /* On loopback a connect that waits does not wait long. */
  if (pair == NULL || server < 0 ||
      connect(server, (const struct sockaddr*)upstream, sizeof *upstream) != 0) {
    perror("floor: connect");
    free(pair);
    close(server);
    close(client);
    return;
  }
  pair->ended = false;
  const int sockets[2] = {client, server};
  for (int i = 0; i < 2; ++i) {
    struct side* side = &pair->sides[i];
    side->other = &pair->sides[1 - i];
    side->socket = sockets[i];
    side->watched = EPOLLIN;
    side->begin = side->end = 0;
    send_at_once(side->socket);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = side};
    epoll_ctl(poll_set, EPOLL_CTL_ADD, side->socket, &event);
  }
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fputs("usage: floor PORT UPSTREAM_PORT\n", stderr);
    return 2;
  }
  const int listener = listen_on(argv[1]);
  const struct sockaddr_in upstream = loopback(argv[2]);
  poll_set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poll_set, EPOLL_CTL_ADD, listener, &event);

  struct epoll_event events[event_count];
  for (;;) {
    const int count = epoll_wait(poll_set, events, event_count, -1);
    for (int i = 0; i < count; ++i) {
      struct side* side = events[i].data.ptr;
      if (side == NULL) {
        accept_one(listener, &upstream);
        continue;
      }
      /* The client's side stands first in its pair; the other one's other is the client's. */
      struct pair* pair = (struct pair*)(side < side->other ? side : side->other);
      if (!pair->ended && !serve(side, events[i].events)) end_pair(pair);
    }
    free_ended_pairs();
  }
}
