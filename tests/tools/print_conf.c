/* print_conf.c - writes deploy/xquantd.conf to stdout, as the table of options says it. */
#include "config/config.h"

int main(void)
{
    config_print_sample(stdout);
    return 0;
}
