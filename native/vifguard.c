/*
 * Moves bytes between netlink and packet sockets and JavaScript; nothing here understands them.
 *
 * Plain Node-API (version 8), no libuv: readiness comes from one epoll thread per environment through a thread-safe function, so one binary
 * serves every Node from 20 on, in the main thread and in workers. All state hangs on the environment; there are no globals.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>

enum { BATCH_MAX = 256, EVENTS_MAX = 64 };

typedef struct {
  int epoll;
  int wake;
  pthread_t thread;
  bool running;
  napi_threadsafe_function ready;
} watcher;

static napi_value throw_errno(napi_env env, const char *what, int error) {
  napi_value code, text, object;
  napi_create_int32(env, error, &code);
  napi_create_string_utf8(env, what, NAPI_AUTO_LENGTH, &text);
  napi_create_error(env, NULL, text, &object);
  napi_set_named_property(env, object, "errno", code);
  napi_throw(env, object);
  return NULL;
}

static bool arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value *values) {
  size_t count = wanted;
  if (napi_get_cb_info(env, info, &count, values, NULL, NULL) == napi_ok && count >= wanted) return true;
  napi_throw_type_error(env, NULL, "too few arguments");
  return false;
}

static bool integer(napi_env env, napi_value value, int32_t *out) {
  if (napi_get_value_int32(env, value, out) == napi_ok) return true;
  napi_throw_type_error(env, NULL, "a number is expected");
  return false;
}

static bool bytes(napi_env env, napi_value value, uint8_t **data, size_t *length) {
  bool typed = false;
  napi_typedarray_type type;
  napi_value buffer;
  size_t offset;
  if (napi_is_typedarray(env, value, &typed) == napi_ok && typed &&
      napi_get_typedarray_info(env, value, &type, length, (void **)data, &buffer, &offset) == napi_ok && type == napi_uint8_array)
    return true;
  napi_throw_type_error(env, NULL, "a Uint8Array is expected");
  return false;
}

static bool words(napi_env env, napi_value value, uint32_t **data, size_t *count) {
  bool typed = false;
  napi_typedarray_type type;
  napi_value buffer;
  size_t offset;
  if (napi_is_typedarray(env, value, &typed) == napi_ok && typed &&
      napi_get_typedarray_info(env, value, &type, count, (void **)data, &buffer, &offset) == napi_ok && type == napi_uint32_array)
    return true;
  napi_throw_type_error(env, NULL, "a Uint32Array is expected");
  return false;
}

static napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

/* open(domain, type, protocol) -> fd; packet protocols in host order */
static napi_value open_socket(napi_env env, napi_callback_info info) {
  napi_value a[3];
  int32_t domain, type, protocol;
  if (!arguments(env, info, 3, a) || !integer(env, a[0], &domain) || !integer(env, a[1], &type) || !integer(env, a[2], &protocol)) return NULL;
  int fd = socket(domain, type | SOCK_CLOEXEC, domain == AF_PACKET ? htons((uint16_t)protocol) : protocol);
  return fd < 0 ? throw_errno(env, "socket", errno) : number(env, fd);
}

static napi_value close_socket(napi_env env, napi_callback_info info) {
  napi_value a[1];
  int32_t fd;
  if (!arguments(env, info, 1, a) || !integer(env, a[0], &fd)) return NULL;
  return close(fd) < 0 ? throw_errno(env, "close", errno) : NULL;
}

/* bindNetlink(fd) -> the port id the kernel chose */
static napi_value bind_netlink(napi_env env, napi_callback_info info) {
  napi_value a[1];
  int32_t fd;
  if (!arguments(env, info, 1, a) || !integer(env, a[0], &fd)) return NULL;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  socklen_t length = sizeof address;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
    return throw_errno(env, "bind", errno);
  return number(env, address.nl_pid);
}

/* setOption(fd, level, name, value) -> 0 or -errno */
static napi_value set_option(napi_env env, napi_callback_info info) {
  napi_value a[4];
  int32_t fd, level, name, value;
  if (!arguments(env, info, 4, a) || !integer(env, a[0], &fd) || !integer(env, a[1], &level) || !integer(env, a[2], &name) || !integer(env, a[3], &value)) return NULL;
  return number(env, setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0);
}

/* send(fd, bytes, length) -> bytes sent or -errno */
static napi_value send_bytes(napi_env env, napi_callback_info info) {
  napi_value a[3];
  int32_t fd, length;
  uint8_t *data;
  size_t room;
  if (!arguments(env, info, 3, a) || !integer(env, a[0], &fd) || !bytes(env, a[1], &data, &room) || !integer(env, a[2], &length)) return NULL;
  if (length < 0 || (size_t)length > room) return napi_throw_range_error(env, NULL, "length is beyond the bytes"), NULL;
  ssize_t done = send(fd, data, (size_t)length, 0);
  return number(env, done < 0 ? -errno : (double)done);
}

/* receive(fd, bytes, wait) -> length or -errno; a longer message is cut and reported as -EMSGSIZE */
static napi_value receive_bytes(napi_env env, napi_callback_info info) {
  napi_value a[3];
  int32_t fd, wait;
  uint8_t *data;
  size_t room;
  if (!arguments(env, info, 3, a) || !integer(env, a[0], &fd) || !bytes(env, a[1], &data, &room) || !integer(env, a[2], &wait)) return NULL;
  ssize_t length;
  do length = recv(fd, data, room, MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
  while (length < 0 && errno == EINTR);
  if (length > (ssize_t)room) return number(env, -EMSGSIZE);
  return number(env, length < 0 ? -errno : (double)length);
}

/* receiveMany(fd, bytes, slot, lengths) -> messages or -errno; message k stands at k * slot, its length in lengths[k] (0 when it was cut) */
static napi_value receive_many(napi_env env, napi_callback_info info) {
  napi_value a[4];
  int32_t fd, slot;
  uint8_t *data;
  uint32_t *lengths;
  size_t room, count;
  if (!arguments(env, info, 4, a) || !integer(env, a[0], &fd) || !bytes(env, a[1], &data, &room) || !integer(env, a[2], &slot) || !words(env, a[3], &lengths, &count)) return NULL;
  if (count > BATCH_MAX) count = BATCH_MAX;
  if (slot < 1 || count < 1 || (size_t)slot * count > room) return napi_throw_range_error(env, NULL, "slots are beyond the bytes"), NULL;
  struct mmsghdr messages[BATCH_MAX];
  struct iovec parts[BATCH_MAX];
  memset(messages, 0, sizeof messages[0] * count);
  for (size_t i = 0; i < count; i++) {
    parts[i] = (struct iovec){.iov_base = data + i * (size_t)slot, .iov_len = (size_t)slot};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  int done = recvmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT | MSG_TRUNC, NULL);
  for (int i = 0; i < done; i++) lengths[i] = messages[i].msg_len > (unsigned)slot ? 0 : messages[i].msg_len;
  return number(env, done < 0 ? -errno : done);
}

/* sendFrames(fd, bytes, table, count) -> frames taken; table holds offset, length, ifindex per frame. A port that is gone or down loses its own frame only. */
static napi_value send_frames(napi_env env, napi_callback_info info) {
  napi_value a[4];
  int32_t fd, count;
  uint8_t *data;
  uint32_t *table;
  size_t room, entries;
  if (!arguments(env, info, 4, a) || !integer(env, a[0], &fd) || !bytes(env, a[1], &data, &room) || !words(env, a[2], &table, &entries) || !integer(env, a[3], &count)) return NULL;
  if (count < 0 || count > BATCH_MAX || (size_t)count * 3 > entries) return napi_throw_range_error(env, NULL, "count is beyond the table"), NULL;
  struct mmsghdr messages[BATCH_MAX];
  struct iovec parts[BATCH_MAX];
  struct sockaddr_ll to[BATCH_MAX];
  memset(messages, 0, sizeof messages);
  memset(to, 0, sizeof to);
  for (int i = 0; i < count; i++) {
    uint32_t offset = table[i * 3], length = table[i * 3 + 1];
    if (length < 14 || offset > room || length > room - offset) return napi_throw_range_error(env, NULL, "frame is beyond the bytes"), NULL;
    parts[i] = (struct iovec){.iov_base = data + offset, .iov_len = length};
    to[i] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = (int)table[i * 3 + 2], .sll_halen = 6};
    memcpy(&to[i].sll_protocol, data + offset + 12, 2);
    memcpy(to[i].sll_addr, data + offset, 6);
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1, .msg_name = &to[i], .msg_namelen = sizeof to[i]};
  }
  int next = 0, taken = 0;
  while (next < count) {
    int done = sendmmsg(fd, messages + next, (unsigned)(count - next), 0);
    if (done > 0) {
      next += done;
      taken += done;
    } else if (errno != EINTR) {
      next++;
    }
  }
  return number(env, taken);
}

/* enterNamespace(path): moves the calling thread, and what it starts, into a network namespace */
static napi_value enter_namespace(napi_env env, napi_callback_info info) {
  napi_value a[1];
  char path[256];
  size_t length;
  if (!arguments(env, info, 1, a) || napi_get_value_string_utf8(env, a[0], path, sizeof path, &length) != napi_ok) return NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return throw_errno(env, path, errno);
  int failed = setns(fd, CLONE_NEWNET) < 0 ? errno : 0;
  close(fd);
  return failed ? throw_errno(env, "setns", failed) : NULL;
}

static void *watch_thread(void *data) {
  watcher *w = data;
  struct epoll_event events[EVENTS_MAX];
  for (;;) {
    int count = epoll_wait(w->epoll, events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == w->wake) return NULL;
      napi_call_threadsafe_function(w->ready, (void *)(intptr_t)events[i].data.fd, napi_tsfn_nonblocking);
    }
  }
}

static void call_ready(napi_env env, napi_value callback, void *context, void *data) {
  (void)context;
  if (env == NULL) return;
  int fd = (int)(intptr_t)data, error = 0;
  socklen_t length = sizeof error;
  /* ENOBUFS (netlink) and ENETDOWN (packet) stand here; reading them clears them, and the watch goes on. */
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
  napi_value global, values[2] = {number(env, fd), number(env, -error)}, result;
  napi_get_global(env, &global);
  if (napi_call_function(env, global, callback, 2, values, &result) == napi_pending_exception) {
    napi_value exception;
    napi_get_and_clear_last_exception(env, &exception);
    napi_fatal_exception(env, exception);
  }
}

static void stop_watcher(void *data) {
  watcher *w = data;
  if (w->running) {
    uint64_t one = 1;
    if (write(w->wake, &one, sizeof one) == (ssize_t)sizeof one) pthread_join(w->thread, NULL);
    napi_release_threadsafe_function(w->ready, napi_tsfn_abort);
  }
  close(w->epoll);
  close(w->wake);
  free(w);
}

/* startWatching(callback(fd, -error)): once per environment; the process may still exit */
static napi_value start_watching(napi_env env, napi_callback_info info) {
  napi_value a[1], name;
  watcher *w;
  if (!arguments(env, info, 1, a) || napi_get_instance_data(env, (void **)&w) != napi_ok) return NULL;
  if (w->running) return napi_throw_error(env, NULL, "already watching"), NULL;
  napi_create_string_utf8(env, "vifguard", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, a[0], NULL, name, 0, 1, NULL, NULL, NULL, call_ready, &w->ready) != napi_ok)
    return napi_throw_error(env, NULL, "no thread-safe function"), NULL;
  napi_unref_threadsafe_function(env, w->ready);
  int error = pthread_create(&w->thread, NULL, watch_thread, w);
  if (error) return throw_errno(env, "pthread_create", error);
  w->running = true;
  return NULL;
}

/* arm(fd, how): 0 adds, 1 arms again after a call, 2 takes it out; each arming gives one call */
static napi_value arm(napi_env env, napi_callback_info info) {
  napi_value a[2];
  int32_t fd, how;
  watcher *w;
  if (!arguments(env, info, 2, a) || !integer(env, a[0], &fd) || !integer(env, a[1], &how) || napi_get_instance_data(env, (void **)&w) != napi_ok) return NULL;
  static const int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
  if (how < 0 || how > 2) return napi_throw_range_error(env, NULL, "how"), NULL;
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
  return epoll_ctl(w->epoll, operations[how], fd, &event) < 0 ? throw_errno(env, "epoll_ctl", errno) : NULL;
}

/* keepAlive(on): whether a watched socket keeps the process running */
static napi_value keep_alive(napi_env env, napi_callback_info info) {
  napi_value a[1];
  bool on;
  watcher *w;
  if (!arguments(env, info, 1, a) || napi_get_value_bool(env, a[0], &on) != napi_ok || napi_get_instance_data(env, (void **)&w) != napi_ok || !w->running) return NULL;
  if (on) napi_ref_threadsafe_function(env, w->ready);
  else napi_unref_threadsafe_function(env, w->ready);
  return NULL;
}

static napi_value init(napi_env env, napi_value exports) {
  static const struct { const char *name; napi_callback function; } functions[] = {
      {"open", open_socket}, {"close", close_socket}, {"bindNetlink", bind_netlink}, {"setOption", set_option},
      {"send", send_bytes}, {"receive", receive_bytes}, {"receiveMany", receive_many}, {"sendFrames", send_frames},
      {"enterNamespace", enter_namespace}, {"startWatching", start_watching}, {"arm", arm}, {"keepAlive", keep_alive},
  };
  watcher *w = calloc(1, sizeof *w);
  if (w == NULL) return napi_throw_error(env, NULL, "out of memory"), NULL;
  w->epoll = epoll_create1(EPOLL_CLOEXEC);
  w->wake = eventfd(0, EFD_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = w->wake};
  if (w->epoll < 0 || w->wake < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &event) < 0) return throw_errno(env, "epoll", errno);
  napi_set_instance_data(env, w, NULL, NULL);
  napi_add_env_cleanup_hook(env, stop_watcher, w);
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
NAPI_MODULE(vifguard, init)
