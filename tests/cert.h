/* cert.h - self-signed certificates, made for a test. */
#ifndef TESTS_CERT_H
#define TESTS_CERT_H

/* Write a certificate for 127.0.0.1 of this common name, and its key, as PEM files. */
void cert_write(const char *cert_path, const char *key_path, const char *name);

#endif
