/*
 * Sends one frame many times out of one interface, as fast as one core can, and prints the nanoseconds a frame took.
 * On a veth the whole path of the frame (peer, bridge, receiver) runs inside the send, so this is what the path costs.
 * usage: flood INTERFACE HEXFRAME COUNT
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

enum { BATCH = 64, FRAME_MAX = 1514 };

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

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: flood INTERFACE HEXFRAME COUNT\n");
    return 2;
  }
  unsigned char frame[FRAME_MAX];
  size_t length = parse_hex(argv[2], frame);
  long count = strtol(argv[3], NULL, 10), sent = 0;
  int on = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
  if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) || bind(fd, (void *)&to, sizeof to)) {
    perror("flood");
    return 1;
  }
  struct iovec part = {.iov_base = frame, .iov_len = length};
  struct mmsghdr batch[BATCH];
  memset(batch, 0, sizeof batch);
  for (int i = 0; i < BATCH; i++) {
    batch[i].msg_hdr.msg_iov = &part;
    batch[i].msg_hdr.msg_iovlen = 1;
  }
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (sent < count) {
    int done = sendmmsg(fd, batch, BATCH, 0);
    if (done < 0) {
      perror("sendmmsg");
      return 1;
    }
    sent += done;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  double ns = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
  printf("%ld %.0f\n", sent, ns / (double)sent);
  return 0;
}
