/*
 * Sends one frame many times out of one interface, as fast as one core can, and prints the nanoseconds a frame took.
 * On a veth the whole path of the frame (peer, bridge, receiver) runs inside the send, so this is what the path costs.
 * usage: flood INTERFACE HEXFRAME COUNT [OFFSET LENGTH]: so many octets there are other ones in every frame
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

static unsigned next_random(void) {
  static unsigned state = 0x9e3779b9;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 6) {
    fprintf(stderr, "usage: flood INTERFACE HEXFRAME COUNT [OFFSET LENGTH]\n");
    return 2;
  }
  static unsigned char frames[BATCH][FRAME_MAX];
  size_t length = parse_hex(argv[2], frames[0]), offset = 0, varied = 0;
  if (argc == 6) {
    offset = strtoul(argv[4], NULL, 10);
    varied = strtoul(argv[5], NULL, 10);
    if (offset + varied > length) return 2;
  }
  long count = strtol(argv[3], NULL, 10), sent = 0;
  int on = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
  if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) || bind(fd, (void *)&to, sizeof to)) {
    perror("flood");
    return 1;
  }
  struct iovec parts[BATCH];
  struct mmsghdr batch[BATCH];
  memset(batch, 0, sizeof batch);
  for (int i = 0; i < BATCH; i++) {
    if (i > 0) memcpy(frames[i], frames[0], length);
    parts[i] = (struct iovec){.iov_base = frames[i], .iov_len = length};
    batch[i].msg_hdr.msg_iov = &parts[i];
    batch[i].msg_hdr.msg_iovlen = 1;
  }
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (sent < count) {
    for (int i = 0; varied > 0 && i < BATCH; i++)
      for (size_t at = 0; at < varied; at++) frames[i][offset + at] = (unsigned char)next_random();
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
