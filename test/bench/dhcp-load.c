/*
 * Many DHCP clients at once, each with an interface and a MAC of its own or all behind one interface: DISCOVER, OFFER, REQUEST, ACK, and again.
 * usage: dhcp-load FILE SECONDS WINDOW: FILE has a line "INTERFACE MAC" for every client; so many of them are in an exchange at any time.
 * SECONDS 0: every client has one exchange, and all begin at once (WINDOW is not looked at).
 * Prints: exchanges, seconds, latency of the median and of 99 % in microseconds, questions asked again, refusals.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { CLIENTS_MAX = 65536, DHCP = 42, OPTIONS = DHCP + 240, FRAME = DHCP + 300, BATCH = 64, SLOT = 2048, SAMPLES = 4000000 };

struct client {
  int ifindex;
  unsigned char mac[6];
  unsigned sequence;
  int state; /* 0 idle, 1 asked for an offer, 2 asked for the lease */
  double begun, asked;
  unsigned char address[4], server[4];
};

static struct client clients[CLIENTS_MAX];
static float took[SAMPLES];
static int count, fd;
static long done, again, refused;

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static unsigned sum16(const unsigned char *bytes, int length) {
  unsigned total = 0;
  for (int i = 0; i < length; i += 2) total += (unsigned)(bytes[i] << 8) + bytes[i + 1];
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return ~total & 0xffff;
}

static void put16(unsigned char *at, unsigned value) {
  at[0] = (unsigned char)(value >> 8);
  at[1] = (unsigned char)value;
}

/* As udhcpc and dhclient ask; without a UDP checksum (RFC 768). */
static void ask(unsigned index, int state) {
  struct client *client = &clients[index];
  unsigned char frame[FRAME] = {0}, *option = frame + OPTIONS;
  memset(frame, 0xff, 6);
  memcpy(frame + 6, client->mac, 6);
  put16(frame + 12, ETH_P_IP);
  frame[14] = 0x45;
  put16(frame + 16, FRAME - 14);
  frame[22] = 64;
  frame[23] = 17;
  memset(frame + 30, 0xff, 4);
  put16(frame + 24, sum16(frame + 14, 20));
  put16(frame + 34, 68);
  put16(frame + 36, 67);
  put16(frame + 38, FRAME - 34);
  unsigned char *dhcp = frame + DHCP;
  memcpy(dhcp, (unsigned char[]){1, 1, 6, 0}, 4);
  put16(dhcp + 4, index);
  put16(dhcp + 6, client->sequence);
  memcpy(dhcp + 28, client->mac, 6);
  memcpy(dhcp + 236, (unsigned char[]){99, 130, 83, 99}, 4);
  memcpy(option, (unsigned char[]){53, 1, state == 1 ? 1 : 3, 61, 7, 1}, 6);
  memcpy(option + 6, client->mac, 6);
  option += 12;
  memcpy(option, (unsigned char[]){55, 7, 1, 3, 6, 12, 15, 28, 42, 57, 2, 5, 220}, 13);
  option += 13;
  if (state == 2) {
    memcpy(option, (unsigned char[]){50, 4}, 2);
    memcpy(option + 2, client->address, 4);
    memcpy(option + 6, (unsigned char[]){54, 4}, 2);
    memcpy(option + 8, client->server, 4);
    option += 12;
  }
  *option = 255;
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = client->ifindex, .sll_halen = 6};
  client->state = state;
  client->asked = now();
  /* A full queue is asked again like any frame that was lost. */
  if (sendto(fd, frame, FRAME, 0, (void *)&to, sizeof to) < 0) again++;
}

static void begin(unsigned index) {
  clients[index].sequence++;
  clients[index].begun = now();
  ask(index, 1);
}

static const unsigned char *find(const unsigned char *frame, int length, int wanted) {
  for (int at = OPTIONS; at + 1 < length && frame[at] != 255;) {
    if (frame[at] == 0) {
      at++;
      continue;
    }
    if (at + 2 + frame[at + 1] > length) return NULL;
    if (frame[at] == wanted) return frame + at + 2;
    at += 2 + frame[at + 1];
  }
  return NULL;
}

/* Answers 1 when an exchange is over. */
static int hear(const unsigned char *frame, int length) {
  if (length < OPTIONS || frame[23] != 17 || frame[DHCP - 8] != 0 || frame[DHCP - 7] != 67 || frame[DHCP] != 2) return 0;
  unsigned index = (unsigned)(frame[DHCP + 4] << 8) + frame[DHCP + 5], sequence = (unsigned)(frame[DHCP + 6] << 8) + frame[DHCP + 7];
  if (index >= (unsigned)count || (clients[index].sequence & 0xffff) != sequence) return 0;
  struct client *client = &clients[index];
  const unsigned char *type = find(frame, length, 53), *server = find(frame, length, 54);
  if (!type || memcmp(frame + DHCP + 28, client->mac, 6)) return 0;
  if (*type == 6) refused++;
  if (*type == 2 && client->state == 1 && server) {
    memcpy(client->address, frame + DHCP + 16, 4);
    memcpy(client->server, server, 4);
    ask(index, 2);
  } else if (*type == 5 && client->state == 2) {
    if (done < SAMPLES) took[done] = (float)((now() - client->begun) * 1e6);
    done++;
    client->state = 0;
    return 1;
  }
  return 0;
}

static int load(const char *file) {
  FILE *lines = fopen(file, "r");
  char name[64];
  unsigned m[6];
  while (lines && count < CLIENTS_MAX &&
         fscanf(lines, "%63s %x:%x:%x:%x:%x:%x", name, &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) == 7) {
    struct client *client = &clients[count];
    client->ifindex = (int)if_nametoindex(name);
    for (int i = 0; i < 6; i++) client->mac[i] = (unsigned char)m[i];
    if (!client->ifindex) return 0;
    count++;
  }
  if (lines) fclose(lines);
  return count;
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc != 4 || !load(argv[1])) {
    fprintf(stderr, "usage: dhcp-load FILE SECONDS WINDOW\n");
    return 2;
  }
  double seconds = atof(argv[2]), patience = 1;
  int boot = seconds == 0, window = boot ? count : atoi(argv[3]), next = 0, room = 64 << 20;
  if (window > count) window = count;
  fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
  if (fd < 0) {
    perror("dhcp-load");
    return 1;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  static unsigned char bytes[BATCH][SLOT];
  struct iovec parts[BATCH];
  struct mmsghdr batch[BATCH];
  memset(batch, 0, sizeof batch);
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){.iov_base = bytes[i], .iov_len = SLOT};
    batch[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  double start = now(), end = boot ? start + 120 : start + seconds, swept = start;
  for (; next < window; next++) begin((unsigned)next);
  while (now() < end && !(boot && done >= count)) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    poll(&ready, 1, 20);
    int got = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
      if (!hear(bytes[i], (int)batch[i].msg_len) || boot) continue;
      /* The next of the ring that is idle: with fewer in the window than clients each has its turn. */
      while (clients[next % count].state) next++;
      begin((unsigned)(next++ % count));
    }
    if (now() - swept < 0.1) continue;
    swept = now();
    for (int i = 0; i < count; i++)
      if (clients[i].state && swept - clients[i].asked > patience) {
        again++;
        ask((unsigned)i, clients[i].state);
      }
  }
  double took_all = now() - start;
  long samples = done < SAMPLES ? done : SAMPLES;
  qsort(took, (size_t)samples, sizeof *took, ascending);
  printf("%ld %.3f %.0f %.0f %ld %ld\n", done, took_all, samples ? (double)took[samples / 2] : 0.0,
         samples ? (double)took[samples * 99 / 100] : 0.0, again, refused);
  return 0;
}
