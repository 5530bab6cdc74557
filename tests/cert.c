/* cert.c - self-signed certificates, made for a test. */
#include "tests/cert.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tests/test.h"

static void write_file(const char *path, const gnutls_datum_t *pem)
{
    FILE *f = fopen(path, "w");

    CHECK(f && fwrite(pem->data, 1, pem->size, f) == pem->size);
    fclose(f);
}

static void name_it(gnutls_x509_crt_t crt, const char *name)
{
    static const unsigned char loopback[] = {127, 0, 0, 1};

    CHECK(gnutls_x509_crt_set_version(crt, 3) == 0);
    CHECK(gnutls_x509_crt_set_serial(crt, "\x01", 1) == 0);
    CHECK(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60) == 0);
    CHECK(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600) == 0);
    CHECK(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                        (unsigned)strlen(name)) == 0);
    CHECK(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback,
                                               sizeof loopback, GNUTLS_FSAN_SET) == 0);
    CHECK(gnutls_x509_crt_set_basic_constraints(crt, 1, -1) == 0);
}

void cert_write(const char *cert_path, const char *key_path, const char *name)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    gnutls_datum_t pem;

    CHECK(gnutls_x509_privkey_init(&key) == 0);
    CHECK(gnutls_x509_crt_init(&crt) == 0);
    CHECK(gnutls_x509_privkey_generate(
              key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0);
    name_it(crt, name);
    CHECK(gnutls_x509_crt_set_key(crt, key) == 0);
    CHECK(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) == 0);
    CHECK(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem) == 0);
    write_file(cert_path, &pem);
    gnutls_free(pem.data);
    CHECK(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem) == 0);
    write_file(key_path, &pem);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}
