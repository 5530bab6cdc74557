/* tls.h - the certificate that a listener shows, which may be replaced while it serves.
 *
 * libmicrohttpd speaks TLS through GnuTLS, and asks at every handshake which certificate to
 * show, without an argument of ours: so there is one a process. All on the loop thread. */
#ifndef SERVER_HTTP_TLS_H
#define SERVER_HTTP_TLS_H

#include <stddef.h>

#include "engine/err.h"

/* Read a certificate with its chain and its private key, PEM files, and show them from the next
 * handshake on. why [n]: out, what is wrong with which file. ERR_OPEN, ERR_READ (a file holds
 * none, or they do not belong together), ERR_NOMEM: what was shown before stays. */
err tls_load(const char *cert_path, const char *key_path, char *why, size_t n);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK. */
void *tls_callback(void);

/* The last that is said on a session (a gnutls_session_t), whose socket does not block: what
 * does not fit is lost. */
void tls_send_last(void *session, const char *bytes, size_t n);

/* Forget all certificates, when no connection is left. */
void tls_free(void);

#endif
