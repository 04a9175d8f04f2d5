"""The OpenAPI document at `/openapi.json`: good enough to generate a client from."""

from typing import Any

from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    License,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Parameter,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec import Struct

from portfolio_scheduler import __version__

DESCRIPTION = """
Reads what the portfolio scheduler keeps of broker accounts, and asks it to read them again. It never places an order.

Amounts and quantities are decimals written as strings, in rupees and units; instants are UTC, dates are Indian.
A figure that is not known is null, never 0. Lists come in pages: pass `next` of one as `cursor` of the following.
"""

BEARER = "bearer"
SECURITY: list[dict[str, list[str]]] = [{BEARER: []}]
OPEN: list[dict[str, list[str]]] = [{}]  # for routes that need no login


# What comes as a file when it is asked for, by the value of the parameter `format`.
FILES = {
    "csv": ("text/csv", Schema(type=OpenAPIType.STRING)),
    "parquet": ("application/vnd.apache.parquet", Schema(type=OpenAPIType.STRING, content_media_type="binary")),
}


def tell_of_files(document: OpenAPI) -> None:
    """Say which kinds of file an answer may be, too: the framework knows of one kind for each status."""
    for path in (document.paths or {}).values():
        answer = ((path.get and path.get.responses) or {}).get("200")
        parameters = (path.get and path.get.parameters) or ()
        schemas = [p.schema for p in parameters if isinstance(p, Parameter) and p.name == "format"]
        forms = [form for schema in schemas if isinstance(schema, Schema) for form in schema.enum or ()]
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            kinds = [FILES[form] for form in forms if form in FILES]
            answer.content |= {kind: OpenAPIMediaType(schema=schema) for kind, schema in kinds}


class StrictBodies(OpenAPISchemaPlugin):
    """Says of the records that refuse unknown fields that they do, which the framework forgets."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        kind = field_definition.annotation
        return isinstance(kind, type) and issubclass(kind, Struct) and kind.__struct_config__.forbid_unknown_fields

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        usual = next(
            plugin
            for plugin in schema_creator.plugins
            if plugin is not self and schema_creator.plugin_supports_field(plugin, field_definition)
        )
        schema: Schema = usual.to_openapi_schema(field_definition, schema_creator)
        schema.additional_properties = False
        return schema


def _name(handler: HTTPRouteHandler, _method: Any, _path: list[Any]) -> str:
    """The route's own name; a handler of several methods is none of ours."""
    return handler.fn.__name__


CONFIG = OpenAPIConfig(
    title="Portfolio scheduler",
    version=__version__,
    description=DESCRIPTION.strip(),
    license=License(name="Apache-2.0", identifier="Apache-2.0"),
    security=SECURITY,
    components=Components(
        security_schemes={
            BEARER: SecurityScheme(
                type="http",
                scheme="bearer",
                description="An access token of POST /auth/login, or a program's token of POST /auth/api-tokens.",
            )
        }
    ),
    tags=[
        Tag(name="accounts", description="Accounts at brokers, their logins and schedules."),
        Tag(name="portfolio", description="What is held, what it is worth, and how both came about."),
        Tag(name="syncs", description="Reading the broker: asking for it, and what came of it."),
        Tag(name="people", description="Logging in, passwords, second factors, programs' tokens, who may see whom."),
        Tag(
            name="admin", description="For administrators. Reading another person's figures is recorded and told them."
        ),
        Tag(name="health", description="Whether the service works."),
    ],
    operation_id_creator=_name,
    use_handler_docstrings=True,
    render_plugins=[JsonRenderPlugin(path="/")],
    path="/openapi.json",
)
