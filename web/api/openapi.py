"""The description of the API in the form of OpenAPI 3.1, made of its endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from web.api.endpoints import Endpoint, Parameter
from web.api.results import Message

_SCHEMAS = "#/components/schemas/{model}"


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description."""
    adapters = [(each.path, "serialization", TypeAdapter(each.result)) for each in endpoints]
    adapters.append(("error", "serialization", TypeAdapter(Message)))
    schemas, definitions = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMAS)  # type: ignore[arg-type]
    error = _content("The request cannot be answered: a sentence.", schemas["error", "serialization"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "rackioc", "version": version("rackioc"), "license": {"name": "BSD-3-Clause"}},
        "paths": {
            each.path: {
                "get": {
                    "summary": each.summary,
                    "parameters": [_parameter(parameter) for parameter in each.parameters],
                    "responses": {
                        "200": _content("The answer.", schemas[each.path, "serialization"]),
                        "400": error,
                        "404": error,
                    },
                }
            }
            for each in endpoints
        },
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _content(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "description": parameter.description,
        "required": parameter.required,
        "schema": {"type": "array", "items": text} if parameter.repeated else text,
    }
