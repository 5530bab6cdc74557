/* notify.h - tells systemd how the service is (sd_notify's protocol, without its library). */
#ifndef SERVER_API_NOTIFY_H
#define SERVER_API_NOTIFY_H

/* Send "READY=1" or the like to $NOTIFY_SOCKET; nothing happens where it is not set. */
void notify_send(const char *what);

#endif
