/* test_http_listen.c - listening on a Unix socket, and with TLS. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "server/http/address.h"
#include "server/http/tls.h"
#include "tests/cert.h"
#include "tests/folder.h"
#include "tests/site.h"

/* --- Unix sockets --- */

typedef struct local {
    folder dir;
    char path[FOLDER_PATH], address[FOLDER_PATH + 8];
} local;

static void local_make(local *l)
{
    l->dir = folder_make();
    folder_path(&l->dir, "socket", l->path);
    snprintf(l->address, sizeof l->address, "unix:%s", l->path);
}

static void check_answers(site *s, const char *address)
{
    client c = {.site = s};

    CHECK(address_connect(address, 5, &c.fd) == ERR_OK);
    client_say(&c, SITE_GET("/now"));
    client_hear(&c, "hello");
    close(c.fd);
}

TEST(http_listens_on_a_unix_socket_of_the_mode_it_is_given)
{
    local l;
    struct stat st;
    site *s;

    local_make(&l);
    s = site_open_with((http_options){.listen = l.address, .unix_mode = 0620});
    CHECK(http_port(s->http) == 0);
    CHECK(stat(l.path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0620);
    check_answers(s, l.address);
    site_close(s);
    CHECK(stat(l.path, &st) != 0);
    folder_remove(&l.dir);
}

TEST(http_takes_over_a_unix_socket_that_a_dead_server_left)
{
    local l;
    unsigned port;
    int fd;
    site *s;

    local_make(&l);
    CHECK(address_listen(l.address, 0600, &fd, &port) == ERR_OK);
    close(fd); /* and its file stays */
    s = site_open_with((http_options){.listen = l.address, .unix_mode = 0600});
    check_answers(s, l.address);
    site_close(s);
    folder_remove(&l.dir);
}

TEST(http_leaves_a_unix_socket_that_is_in_use_and_a_file_that_is_none)
{
    local l;
    unsigned port;
    int fd, other;

    local_make(&l);
    CHECK(address_listen(l.address, 0600, &fd, &port) == ERR_OK);
    CHECK(address_listen(l.address, 0600, &other, &port) == ERR_ADDRESS && errno == EADDRINUSE);
    close(fd);
    CHECK(unlink(l.path) == 0);
    folder_write(&l.dir, "socket", "mine", 4);
    CHECK(address_listen(l.address, 0600, &other, &port) == ERR_ADDRESS && errno == EADDRINUSE);
    folder_remove(&l.dir);
}

TEST(http_refuses_a_unix_socket_without_a_path_or_with_one_too_long)
{
    char address[256] = "unix:/";
    unsigned port;
    int fd;

    CHECK(address_listen("unix:", 0600, &fd, &port) == ERR_ADDRESS && errno == EINVAL);
    memset(address + 6, 'a', 200);
    CHECK(address_listen(address, 0600, &fd, &port) == ERR_ADDRESS && errno == ENAMETOOLONG);
}

/* --- TLS --- */

typedef struct secret {
    folder dir;
    char cert[FOLDER_PATH], key[FOLDER_PATH];
} secret;

static void secret_make(secret *x, const char *name)
{
    x->dir = folder_make();
    folder_path(&x->dir, "cert.pem", x->cert);
    folder_path(&x->dir, "key.pem", x->key);
    cert_write(x->cert, x->key, name);
}

/* A client that trusts one certificate, on a thread of its own: GnuTLS blocks. */
typedef struct visitor {
    pthread_t thread;
    const char *trusted, *request;
    unsigned port;
    char got[4096], name[64]; /* the common name it was shown */
    atomic_bool done;
} visitor;

static void read_name(gnutls_session_t session, visitor *v)
{
    unsigned n;
    const gnutls_datum_t *der = gnutls_certificate_get_peers(session, &n);
    size_t size = sizeof v->name;
    gnutls_x509_crt_t crt;

    gnutls_x509_crt_init(&crt);
    gnutls_x509_crt_import(crt, &der[0], GNUTLS_X509_FMT_DER);
    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, v->name, &size);
    gnutls_x509_crt_deinit(crt);
}

static void talk(gnutls_session_t session, visitor *v)
{
    size_t n = 0;
    ssize_t more;

    if (gnutls_handshake(session) < 0) return;
    read_name(session, v);
    gnutls_record_send(session, v->request, strlen(v->request));
    while ((more = gnutls_record_recv(session, v->got + n, sizeof v->got - 1 - n)) > 0)
        n += (size_t)more;
}

static void *visit(void *arg)
{
    visitor *v = arg;
    gnutls_certificate_credentials_t trust;
    gnutls_session_t session;
    const int fd = client_connect(v->port);

    gnutls_certificate_allocate_credentials(&trust);
    gnutls_certificate_set_x509_trust_file(trust, v->trusted, GNUTLS_X509_FMT_PEM);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, trust);
    gnutls_session_set_verify_cert(session, NULL, 0);
    gnutls_transport_set_int(session, fd);
    talk(session, v);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(trust);
    close(fd);
    atomic_store(&v->done, true);
    return NULL;
}

static void visit_saying(site *s, const char *trusted, const char *request, visitor *v)
{
    *v = (visitor){.trusted = trusted, .request = request, .port = http_port(s->http)};
    CHECK(pthread_create(&v->thread, NULL, visit, v) == 0);
    SITE_AWAIT(s, -1, atomic_load(&v->done));
    pthread_join(v->thread, NULL);
}

static void visit_site(site *s, const char *trusted, visitor *v)
{
    visit_saying(s, trusted, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", v);
}

TEST(http_speaks_tls_and_shows_a_new_certificate_after_a_reload)
{
    secret first, second;
    char why[512];
    visitor v;
    site *s;

    secret_make(&first, "first");
    secret_make(&second, "second");
    CHECK(tls_load(first.cert, first.key, why, sizeof why) == ERR_OK);
    s = site_open_with((http_options){.tls = true});
    visit_site(s, first.cert, &v);
    CHECK(strcmp(v.name, "first") == 0 && strstr(v.got, "hello"));
    CHECK(tls_load(second.cert, second.key, why, sizeof why) == ERR_OK);
    visit_site(s, second.cert, &v);
    CHECK(strcmp(v.name, "second") == 0 && strstr(v.got, "hello"));
    visit_site(s, first.cert, &v); /* does not trust it */
    CHECK(!v.got[0]);
    site_close(s);
    tls_free();
    folder_remove(&first.dir);
    folder_remove(&second.dir);
}

TEST(http_closes_a_plain_client_of_a_tls_listener_and_serves_others)
{
    secret x;
    char why[512];
    visitor v;
    site *s;
    client *plain;

    secret_make(&x, "x");
    CHECK(tls_load(x.cert, x.key, why, sizeof why) == ERR_OK);
    s = site_open_with((http_options){.tls = true});
    plain = client_ask(s, SITE_GET("/now"));
    CHECK(!strstr(plain->got, "hello"));
    visit_site(s, x.cert, &v);
    CHECK(strstr(v.got, "hello"));
    client_close(plain);
    site_close(s);
    tls_free();
    folder_remove(&x.dir);
}

/* After the first of them the library goes on as if it had not answered. */
TEST(http_sends_one_whole_page_within_tls_for_what_is_no_http)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        "GET /now HTTP/9.9\r\nHost: x\r\n\r\n",
    };
    secret x;
    char why[512];
    visitor v;
    site *s;

    secret_make(&x, "x");
    CHECK(tls_load(x.cert, x.key, why, sizeof why) == ERR_OK);
    s = site_open_with((http_options){.tls = true});
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const char *body;

        visit_saying(s, x.cert, requests[i], &v);
        body = strstr(v.got, "\r\n\r\n{\"error\":");
        CHECK(body && strstr(v.got, "Content-Type: application/json\r\n"));
        CHECK(strstr(v.got, "\r\n\r\n") == body && strcmp(body + strlen(body) - 2, "}}") == 0);
    }
    site_close(s);
    tls_free();
    folder_remove(&x.dir);
}

TEST(http_names_the_file_of_a_certificate_that_is_wrong)
{
    secret x, y;
    char why[512];

    secret_make(&x, "x");
    secret_make(&y, "y");
    CHECK(tls_load("/nowhere", x.key, why, sizeof why) == ERR_OPEN &&
          strstr(why, "/nowhere: "));
    CHECK(tls_load(x.key, x.key, why, sizeof why) == ERR_READ && strstr(why, x.key));
    CHECK(tls_load(x.cert, x.cert, why, sizeof why) == ERR_READ && strstr(why, x.cert));
    CHECK(tls_load(x.cert, y.key, why, sizeof why) == ERR_READ && strstr(why, y.key));
    CHECK(strstr(why, "is not the key"));
    tls_free();
    folder_remove(&x.dir);
    folder_remove(&y.dir);
}
