# reference.py - jinja2, set up as transformers does for chat templates.
import datetime
import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Raised(jinja2.exceptions.TemplateError):
    """What a template says itself."""


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks an answer for training, and writes it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def raise_exception(message):
    raise Raised(message)


def environment():
    e = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                      extensions=[Generation, jinja2.ext.loopcontrols])
    e.filters["tojson"] = tojson
    e.globals["raise_exception"] = raise_exception
    e.globals["strftime_now"] = lambda how: datetime.datetime.now().strftime(how)
    return e


def render(source, all_variables):
    """For each set of variables {"text"}, {"raised"} or {"error"}."""
    answers, template, wrong = [], None, None
    try:
        template = environment().from_string(source)
    except Exception as e:  # any is a refusal
        wrong = e
    for variables in all_variables:
        try:
            if wrong:
                raise wrong
            answers.append({"text": template.render(**variables)})
        except Raised as e:
            answers.append({"raised": str(e)})
        except Exception as e:
            answers.append({"error": f"{type(e).__name__}: {e}"})
    return answers
