/* wire_form.h - an error in the words of the wire format that a path belongs to.
 *
 * A path says which format its clients speak before anything is known of their request, so that
 * what is refused early (a key, a length, a path that is none) is said in their words too. */
#ifndef SERVER_HTTP_WIRE_FORM_H
#define SERVER_HTTP_WIRE_FORM_H

typedef struct wire_form {
    const char *prefix; /* of its paths */
    /* The body of an answer, malloc'd JSON; NULL: out of memory. param and code may be NULL. */
    char *(*body)(int status, const char *type, const char *code, const char *param,
                  const char *message);
    const char *open, *close; /* around a body that goes into a stream */
} wire_form;

/* The form of a path; of NULL, and of paths that are nobody else's, OpenAI's. */
const wire_form *wire_form_of(const char *path);

#endif
