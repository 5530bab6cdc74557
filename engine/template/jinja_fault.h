/* jinja_fault.h - what is wrong with a template, or went wrong in it, for a person to read. */
#ifndef ENGINE_TEMPLATE_JINJA_FAULT_H
#define ENGINE_TEMPLATE_JINJA_FAULT_H

#include <stdbool.h>

typedef struct jinja_fault {
    int line;       /* of the template, from 1; 0: none in particular */
    bool raised;    /* the template itself said it, by raise_exception */
    char text[300]; /* UTF-8, cut to fit; empty: nothing is wrong */
} jinja_fault;

#endif
