/*
 * One card of a machine: carries every frame between a tap of this network namespace and one of the guest's, as QEMU does, and goes on when either is down (a tap that
 * is down refuses frames with EIO; socat ends at that).
 * usage: card TAP NETNS CARD: NETNS is the path of the guest's namespace
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { FRAME_MAX = 2048 };

static int open_tap(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0) perror(name);
  return tap;
}

static void carry(int from, int to) {
  unsigned char frame[FRAME_MAX];
  ssize_t length = read(from, frame, sizeof frame);
  if (length > 0 && write(to, frame, (size_t)length) < 0) return;
}

int main(int count, char **words) {
  if (count != 4) return 2;
  int outer = open_tap(words[1]);
  int home = open(words[2], O_RDONLY);
  if (home < 0 || setns(home, CLONE_NEWNET) < 0) return 1;
  int inner = open_tap(words[3]);
  if (outer < 0 || inner < 0) return 1;
  struct pollfd taps[] = {{.fd = outer, .events = POLLIN}, {.fd = inner, .events = POLLIN}};
  while (poll(taps, 2, -1) > 0) {
    if (taps[0].revents & POLLIN) carry(outer, inner);
    if (taps[1].revents & POLLIN) carry(inner, outer);
    /* A tap that is gone says so for ever. */
    if ((taps[0].revents | taps[1].revents) & POLLERR) usleep(10000);
  }
  return 0;
}
