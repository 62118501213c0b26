/* Names and interfaces: what every Linux host answers alike. */
#include "check.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>

int main(void) {
  struct addrinfo hints, *list = NULL;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  CHECK(getaddrinfo("127.0.0.1", "80", &hints, &list) == 0 && list != NULL);
  struct sockaddr_in *in = (struct sockaddr_in *)list->ai_addr;
  CHECK(ntohs(in->sin_port) == 80 && in->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  char host[100], service[20];
  CHECK(getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0);
  CHECK(strcmp(host, "127.0.0.1") == 0 && strcmp(service, "80") == 0);
  freeaddrinfo(list);
  CHECK(getaddrinfo("localhost", "80", &hints, &list) == 0);
  CHECK(((struct sockaddr_in *)list->ai_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  freeaddrinfo(list);
  hints.ai_flags = AI_PASSIVE;
  CHECK(getaddrinfo(NULL, "8080", &hints, &list) == 0);
  CHECK(((struct sockaddr_in *)list->ai_addr)->sin_addr.s_addr == htonl(INADDR_ANY));
  freeaddrinfo(list);
  CHECK(getaddrinfo("*", "8080", &hints, &list) == 0);
  CHECK(((struct sockaddr_in *)list->ai_addr)->sin_addr.s_addr == htonl(INADDR_ANY));
  freeaddrinfo(list);
  CHECK(getaddrinfo("*", "*", &hints, &list) == EAI_NONAME);
  hints.ai_flags = 0;
  CHECK(getaddrinfo("*", "80", &hints, &list) == 0);
  CHECK(((struct sockaddr_in *)list->ai_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  freeaddrinfo(list);
  hints.ai_flags = AI_CANONNAME;
  CHECK(getaddrinfo("*", "80", &hints, &list) == EAI_BADFLAGS);
  hints.ai_flags = AI_NUMERICHOST;
  CHECK(getaddrinfo("no.such.host.invalid", "80", &hints, &list) == EAI_NONAME);
  struct hostent *h = gethostbyname("localhost");
  CHECK(h != NULL && h->h_addrtype == AF_INET && h->h_length == 4);

  struct ifaddrs *addresses = NULL;
  CHECK(getifaddrs(&addresses) == 0);
  int loopback_seen = 0;
  for (struct ifaddrs *i = addresses; i; i = i->ifa_next) {
    if (strcmp(i->ifa_name, "lo") != 0 || !i->ifa_addr) continue;
    if (i->ifa_addr->sa_family != AF_INET) continue;
    struct sockaddr_in *mask = (struct sockaddr_in *)i->ifa_netmask;
    loopback_seen = (i->ifa_flags & IFF_LOOPBACK) && mask->sin_addr.s_addr == htonl(0xff000000);
  }
  CHECK(loopback_seen);
  freeifaddrs(addresses);
  unsigned index = if_nametoindex("lo");
  char name[IF_NAMESIZE];
  CHECK(index != 0 && if_indextoname(index, name) == name && strcmp(name, "lo") == 0);
  CHECK(if_nametoindex("nope0") == 0);

  /* Interface ioctls work on any socket. */
  int families[] = {AF_INET, AF_UNIX};
  for (int i = 0; i < 2; ++i) {
    int s = socket(families[i], SOCK_DGRAM, 0);
    struct ifreq r;
    memset(&r, 0, sizeof r);
    strcpy(r.ifr_name, "lo");
    CHECK(ioctl(s, SIOCGIFINDEX, &r) == 0 && (unsigned)r.ifr_ifindex == index);
    strcpy(r.ifr_name, "nope0");
    FAILS(ioctl(s, SIOCGIFFLAGS, &r), ENODEV);
    char room[4096];
    struct ifconf conf;
    conf.ifc_len = sizeof room;
    conf.ifc_buf = room;
    CHECK(ioctl(s, SIOCGIFCONF, &conf) == 0 && conf.ifc_len >= (int)sizeof(struct ifreq));
    close(s);
  }
  FINISH();
}
