/*
 * Asks one question many times out of one interface, one after the other, and prints what the answers took.
 * usage: probe INTERFACE HEXFRAME OFFSET HEXBYTES COUNT MICROSECONDS: an answer is a frame that has these octets at that place; so long from one question to the next.
 * prints: answers, median, 99th percentile and the longest in nanoseconds
 */
#define _GNU_SOURCE
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { FRAME_MAX = 1514, COUNT_MAX = 100000, PATIENCE_MS = 1000 };

static size_t parse_hex(const char *text, unsigned char *bytes) {
  size_t length = strlen(text) / 2;
  if (length > FRAME_MAX) length = FRAME_MAX;
  for (size_t i = 0; i < length; i++) {
    unsigned value = 0;
    sscanf(text + 2 * i, "%2x", &value);
    bytes[i] = (unsigned char)value;
  }
  return length;
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
  long long x = *(const long long *)a, y = *(const long long *)b;
  return x < y ? -1 : x > y;
}

/* Nanoseconds until the answer came, or -1. */
static long long wait_answer(int fd, size_t offset, const unsigned char *bytes, size_t length, long long begun) {
  unsigned char frame[FRAME_MAX];
  struct sockaddr_ll from;
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  for (;;) {
    int left = PATIENCE_MS - (int)((now() - begun) / 1000000);
    if (left <= 0 || poll(&ready, 1, left) <= 0) return -1;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(fd, frame, sizeof frame, MSG_DONTWAIT, (void *)&from, &size);
    if (got < 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
    if ((size_t)got >= offset + length && memcmp(frame + offset, bytes, length) == 0) return now() - begun;
  }
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: probe INTERFACE HEXFRAME OFFSET HEXBYTES COUNT MICROSECONDS\n");
    return 2;
  }
  static long long took[COUNT_MAX];
  unsigned char frame[FRAME_MAX], answer[FRAME_MAX], scrap[FRAME_MAX];
  size_t length = parse_hex(argv[2], frame), offset = strtoul(argv[3], NULL, 10), want = parse_hex(argv[4], answer);
  long count = strtol(argv[5], NULL, 10), pause = strtol(argv[6], NULL, 10), answered = 0;
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(argv[1])};
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  if (fd < 0 || bind(fd, (void *)&to, sizeof to) || count > COUNT_MAX) {
    perror("probe");
    return 1;
  }
  for (long i = 0; i < count; i++) {
    while (recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) >= 0) {}
    long long begun = now();
    if (send(fd, frame, length, 0) < 0) perror("send");
    long long one = wait_answer(fd, offset, answer, want, begun);
    if (one >= 0) took[answered++] = one;
    long long rest = pause * 1000LL - (now() - begun);
    if (rest > 0) nanosleep(&(struct timespec){rest / 1000000000LL, rest % 1000000000LL}, NULL);
  }
  if (answered == 0) {
    printf("0 0 0 0\n");
    return 0;
  }
  qsort(took, (size_t)answered, sizeof *took, compare);
  printf("%ld %lld %lld %lld\n", answered, took[answered / 2], took[answered * 99 / 100], took[answered - 1]);
  return 0;
}
