/* mode_choice.c - from --cache to a mode and its plan.
 *
 *   --cache klt<R>   its plan must be there and valid
 *           auto     the densest mode that a valid plan knows to be within --max-kl; else
 *                    the cache chooses by the model's heads, and the log says what is not known
 *           others   need no plan */
#include <stdio.h>
#include <string.h>

#include "server/log.h"
#include "server/mode_choice.h"

/* The same plan serves twice the ratio, as far as there is one. */
static err check_degrade(const mode_choice *m, const config *c, fault *why)
{
    const double ratio = codec_ratio(m->mode);
    char text[sizeof why->field];

    if (!c->degrade || (ratio > 0 && 2 * ratio <= PLAN_RATIO_MAX)) return ERR_OK;
    snprintf(text, sizeof text, "--degrade with --cache %.40s", c->cache);
    return err_blame(why, ERR_DEGRADE, text);
}

/* What one calibrated should not be ignored without a word. */
static void tell_passed(const plans_choice *found)
{
    if (found->passed.e != ERR_OK)
        log_line(LOG_WARN, "a plan does not count", "file", LOG_TEXT(found->passed.field),
                 "why", LOG_TEXT(err_text(found->passed.e)), NULL);
}

/* What is left for the cache to resolve is `auto` without a known mode: by the model's heads. A
 * plan is closed where the mode that it knows as the densest needs none. */
static err choose_auto(mode_choice *m, const mode_model *of, const config *c, fault *why)
{
    plans_choice found;
    const err e = plans_best(of->path, of->file, plans_max_kl(c->max_kl), &found);

    if (e == ERR_SYSTEM) return err_blame(why, e, "--cache auto: a folder of plans");
    TRY(e);
    tell_passed(&found);
    m->plan_missing = !found.plan;
    memcpy(m->nearest, found.rejected, sizeof m->nearest);
    if (!*found.mode) {
        m->rejected = found.plan;
        return ERR_OK;
    }
    memcpy(m->mode, found.mode, sizeof found.mode);
    if (codec_ratio(found.mode) > 0)
        m->plan = found.plan;
    else
        plan_close(found.plan);
    return ERR_OK;
}

err mode_choice_open(mode_choice *m, const mode_model *of, const config *c, fault *why)
{
    snprintf(m->mode, sizeof m->mode, "%s", c->cache);
    if (strcmp(c->cache, "auto") == 0)
        TRY(choose_auto(m, of, c, why));
    else
        TRY(plans_open(of->path, c->cache, of->file, &m->plan, why));
    return check_degrade(m, c, why);
}

void mode_choice_close(mode_choice *m)
{
    plan_close(m->plan);
    plan_close(m->rejected);
    m->plan = m->rejected = NULL;
}

void mode_choice_tell(mode_choice *m, const char *served, double max_kl)
{
    char text[24] = "not measured";
    double kl;

    if (!m->rejected) return;
    kl = plan_plain_kl(m->rejected, served);
    if (kl >= 0) snprintf(text, sizeof text, "%.3g", kl);
    log_line(LOG_WARN, "auto takes no mode of the plan: none is known to be within --max-kl",
             "plan", LOG_TEXT(m->nearest), "max_kl", LOG_NUM(plans_max_kl(max_kl)), "cache",
             LOG_TEXT(served), "kl", LOG_TEXT(text), NULL);
    plan_close(m->rejected);
    m->rejected = NULL;
}
