/* tls.c - certificates for handshakes, read from PEM files.
 *
 * A handshake keeps pointers into the certificate it was shown until it ends, and nobody says
 * when that is: one that was replaced stays in memory until the process ends. They are a few
 * KB, and replaced every few weeks. */
#include "server/http/tls.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

enum { CHAIN_MAX = 16, KEY_ID_BYTES = 64 };

typedef struct certificate {
    struct certificate *older;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
} certificate;

/* GnuTLS calls back without an argument of ours, so the one that is shown hangs on no object.
 */
static struct {
    certificate *newest;
} state;

/* Tolerates one that was read in part. */
static void certificate_free(certificate *c)
{
    for (unsigned i = 0; i < c->n; i++) gnutls_pcert_deinit(&c->chain[i]);
    if (c->key) gnutls_privkey_deinit(c->key);
    free(c);
}

static err say(err e, char *why, size_t n, const char *path, const char *what)
{
    snprintf(why, n, "%s: %s", path, what);
    return e;
}

static err read_pem(const char *path, gnutls_datum_t *out, char *why, size_t n)
{
    const int code = gnutls_load_file(path, out);

    if (code == GNUTLS_E_FILE_ERROR) return say(ERR_OPEN, why, n, path, strerror(errno));
    return code ? say(ERR_NOMEM, why, n, path, gnutls_strerror(code)) : ERR_OK;
}

static err read_chain(certificate *c, const char *path, char *why, size_t n)
{
    gnutls_datum_t pem;
    int code;

    TRY(read_pem(path, &pem, why, n));
    c->n = CHAIN_MAX;
    code = gnutls_pcert_list_import_x509_raw(c->chain, &c->n, &pem, GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(pem.data);
    if (!code && c->n) return ERR_OK;
    c->n = 0;
    return say(ERR_READ, why, n, path, "holds no certificate in PEM");
}

/* Wiped behind us: the key lives in GnuTLS alone. */
static err read_key(certificate *c, const char *path, char *why, size_t n)
{
    gnutls_datum_t pem;
    int code;

    TRY(read_pem(path, &pem, why, n));
    code = gnutls_privkey_init(&c->key);
    if (!code)
        code = gnutls_privkey_import_x509_raw(c->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return code ? say(ERR_READ, why, n, path, "holds no private key in PEM") : ERR_OK;
}

/* Is the key the one that the first certificate names? Compared by the hash of the public key.
 */
static bool belong_together(const certificate *c)
{
    unsigned char a[KEY_ID_BYTES], b[KEY_ID_BYTES];
    size_t na = sizeof a, nb = sizeof b;
    gnutls_pubkey_t public;
    int code = gnutls_pubkey_init(&public);

    if (code) return false;
    code = gnutls_pubkey_import_privkey(public, c->key, 0, 0);
    if (!code) code = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, a, &na);
    if (!code)
        code = gnutls_pubkey_get_key_id(c->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, b, &nb);
    gnutls_pubkey_deinit(public);
    return !code && na == nb && memcmp(a, b, na) == 0;
}

err tls_load(const char *cert_path, const char *key_path, char *why, size_t n)
{
    certificate *c = calloc(1, sizeof *c);
    err e = ERR_NOMEM;

    if (!c) return say(e, why, n, cert_path, err_text(e));
    e = read_chain(c, cert_path, why, n);
    if (!e) e = read_key(c, key_path, why, n);
    if (!e && !belong_together(c))
        e = say(ERR_READ, why, n, key_path, "is not the key of the certificate");
    if (e) {
        certificate_free(c);
        return e;
    }
    c->older = state.newest;
    state.newest = c;
    return ERR_OK;
}

/* One certificate whatever name the client asks for: there is one API behind it. */
static int show(gnutls_session_t session, const gnutls_datum_t *request, int n_requests,
                const gnutls_pk_algorithm_t *algorithms, int n_algorithms,
                gnutls_pcert_st **chain, unsigned *n, gnutls_privkey_t *key)
{
    certificate *c = state.newest;

    (void)session, (void)request, (void)n_requests, (void)algorithms, (void)n_algorithms;
    if (!c) return -1;
    *chain = c->chain;
    *n = c->n;
    *key = c->key;
    return 0;
}

void *tls_callback(void)
{
    gnutls_certificate_retrieve_function2 *const f = show;
    void *out;

    /* ISO C has no conversion from a function's address to an object's; POSIX copies it. */
    memcpy(&out, &f, sizeof out);
    return out;
}

void tls_send_last(void *session, const char *bytes, size_t n)
{
    (void)gnutls_record_send(session, bytes, n);
    (void)gnutls_bye(session, GNUTLS_SHUT_WR); /* else a reader takes it for cut off */
}

void tls_free(void)
{
    while (state.newest) {
        certificate *c = state.newest;

        state.newest = c->older;
        certificate_free(c);
    }
}
