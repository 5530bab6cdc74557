/* test_wire_error.c - every err has a row, and an error object has all its keys. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/http/wire_error.h"
#include "tests/test.h"

TEST(wire_error_has_a_row_for_every_err)
{
    for (int e = 0; e < ERR_COUNT; e++) {
        const wire_error row = wire_error_for((err)e);

        CHECK(row.type != NULL);
        CHECK(row.status >= 400 && row.status < 600);
        /* The type says who is at fault, and so does the status. */
        CHECK((row.status >= 500) == (strcmp(row.type, "server_error") == 0));
    }
}

TEST(wire_error_rows_say_what_clients_act_upon)
{
    CHECK(wire_error_for(ERR_TOOLONG).status == 400);
    CHECK(strcmp(wire_error_for(ERR_TOOLONG).code, "context_length_exceeded") == 0);
    CHECK(wire_error_for(ERR_BUSY).status == 429);
    CHECK(strcmp(wire_error_for(ERR_BUSY).code, "rate_limit_exceeded") == 0);
    CHECK(wire_error_for(ERR_DRAINING).status == 503);
    CHECK(wire_error_for(ERR_TIMEOUT).status == 504);
    CHECK(wire_error_for(ERR_NOMEM).status == 503);
    CHECK(wire_error_for(ERR_NOMODEL).status == 404);
    CHECK(wire_error_for(ERR_JSON).status == 400 && !wire_error_for(ERR_JSON).code);
    CHECK(strcmp(wire_error_for(ERR_INVALID).code, "invalid_value") == 0);
    CHECK(strcmp(wire_error_for(ERR_REQUIRED).code, "missing_required_parameter") == 0);
    CHECK(strcmp(wire_error_for(ERR_UNSUPPORTED).code, "unsupported_parameter") == 0);
}

static cJSON *error_of(cJSON *body)
{
    return cJSON_GetObjectItemCaseSensitive(body, "error");
}

TEST(wire_error_body_has_four_keys_always)
{
    char *text = wire_error_body("t", NULL, NULL, "say \"why\"\n");
    cJSON *body = cJSON_Parse(text), *e = error_of(body);

    CHECK(cJSON_GetArraySize(e) == 4);
    CHECK(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(e, "param")));
    CHECK(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(e, "code")));
    CHECK(strcmp(cJSON_GetObjectItemCaseSensitive(e, "message")->valuestring,
                 "say \"why\"\n") == 0);
    cJSON_Delete(body);
    free(text);
}

TEST(wire_error_body_carries_code_and_param)
{
    char *text = wire_error_body("t", "c", "messages[0].content", "m");

    CHECK(strcmp(text, "{\"error\":{\"message\":\"m\",\"type\":\"t\","
                       "\"param\":\"messages[0].content\",\"code\":\"c\"}}") == 0);
    free(text);
}
