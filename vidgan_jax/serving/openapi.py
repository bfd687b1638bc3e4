"""The HTTP interface, described as OpenAPI 3.1."""

from typing import Any

from vidgan_jax.serving.forms import FORM_TYPE, InputLimits
from vidgan_jax.serving.inputs import MAX_LOOPS
from vidgan_jax.serving.model import MAX_SEED, MAX_VARIATION, TRUNCATIONS
from vidgan_jax.serving.outputs import FORMATS, PLAYBACKS
from vidgan_jax.version import __version__

TOLD_LIMITS = ("map_bytes", "style_bytes", "map_side", "style_side")
"""What /api/model tells of `InputLimits`."""

_MEDIA_TYPES = ("video/mp4", "image/webp", "image/gif", "image/png", "application/zip")
_ERRORS = {
    400: "A value is wrong, or a file is not the picture that it should be",
    403: "A page of another server posts here",
    408: "The form took too long to arrive",
    413: "A file, a picture or the whole form is too large",
    415: f"The request is not {FORM_TYPE}",
    422: "The map has labels that the model does not know",
    429: "The queue is full, or this client asks too often; Retry-After tells the seconds to wait",
    503: "The model is still being compiled, or the answer took too long",
}
_RETRIED = (429, 503)


def describe(limits: InputLimits) -> dict[str, Any]:
    """The description, as JSON takes it.

    Args:
      limits: on what clients send.

    Source: OpenAPI Specification 3.1.1.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vidgan_jax studio",
            "version": __version__,
            "description": "Draws label maps as clips, by one model, on this machine.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(limits),
        "components": {"schemas": {"Model": _MODEL, "Examples": _EXAMPLES, "Error": _ERROR}},
    }


def _paths(limits: InputLimits) -> dict[str, Any]:
    return {
        "/": {"get": _get("page", "The page", _file("text/html"))},
        "/static/{name}": {
            "get": _get(
                "static",
                "A file of the page",
                _file("text/css", "text/javascript", "image/png", "image/svg+xml"),
                parameter=_parameter("name", {"type": "string"}),
            )
        },
        "/api/model": {"get": _get("model", "The model and its state", _json("Model"))},
        "/api/examples": {"get": _get("examples", "Label maps to start from", _json("Examples"))},
        "/api/examples/{name}": {
            "get": _get(
                "example",
                "A label map of ids, 8 bits a pixel, of the model's size",
                _file("image/png"),
                parameter=_parameter("name", {"type": "string", "pattern": "^[0-9]+\\.png$"}),
            )
        },
        "/api/generate": {"post": _generate(limits)},
        "/openapi.json": {
            "get": _get(
                "openapi", "This description", {"application/json": {"schema": {"type": "object"}}}
            )
        },
    }


def _generate(limits: InputLimits) -> dict[str, Any]:
    headers = {
        "X-Seed": {"description": "The seed", "schema": {"type": "integer"}},
        "X-Generation-Ms": {
            "description": "Milliseconds that the model took",
            "schema": {"type": "integer"},
        },
    }
    done = {"description": "The clip or image", "headers": headers, "content": _file(*_MEDIA_TYPES)}
    return {
        "operationId": "generate",
        "summary": "Generates a clip, or an image, of a label map",
        "description": "One runs at a time, a few wait. The same request gives the same bytes.",
        "requestBody": {"required": True, "content": {FORM_TYPE: _form(limits)}},
        "responses": {"200": done, **_errors(*_ERRORS)},
    }


def _form(limits: InputLimits) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "map": {
            **_binary(limits.map_bytes),
            "description": "A label map as PNG, of 8-bit ids (255: don't care) or in ADE20K's "
            f"palette colours (black: don't care), at most {limits.map_side} pixels high and wide; "
            "stretched to the model's square.",
        },
        "style": {
            **_binary(limits.style_bytes),
            "description": f"PNG or JPEG, at most {limits.style_side} pixels high and wide, of "
            "models with has_style: the square in its middle gives colours and light.",
        },
        "seed": {**_integer(0, MAX_SEED), "default": 0},
        "variation": {
            **_integer(0, MAX_VARIATION),
            "default": 0,
            "description": "Number of the latent among the seed's.",
        },
        "truncation": {
            "type": "number",
            "minimum": TRUNCATIONS[0],
            "maximum": TRUNCATIONS[1],
            "description": "Bound on the latent's components, in σ, written without an exponent; "
            "none where it is left out.",
        },
        "format": {
            "enum": list(FORMATS),
            "description": "mp4 by default, png of models of images. png is one PNG of an image, "
            "and a ZIP of one for each frame of a clip.",
        },
        "playback": {
            "enum": list(PLAYBACKS),
            "default": PLAYBACKS[0],
            "description": "pingpong goes back again to the first frame.",
        },
        "loops": {
            **_integer(1, MAX_LOOPS),
            "default": 1,
            "description": "Times that an mp4 repeats the clip.",
        },
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["map"],
        "additionalProperties": False,
    }
    encoding = {
        "map": {"contentType": "image/png"},
        "style": {"contentType": "image/png, image/jpeg"},
    }
    return {"schema": schema, "encoding": encoding}


def _get(
    name: str, summary: str, content: dict[str, Any], *, parameter: dict[str, Any] | None = None
) -> dict[str, Any]:
    responses = {"200": {"description": summary, "content": content}}
    described = {"operationId": name, "summary": summary}
    if parameter is None:
        return {**described, "responses": responses}
    missing = {"404": {"description": "There is none", "content": _json("Error")}}
    return {**described, "parameters": [parameter], "responses": {**responses, **missing}}


def _errors(*statuses: int) -> dict[str, Any]:
    after = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return {
        str(status): {
            "description": _ERRORS[status],
            "content": _json("Error"),
            **({"headers": after} if status in _RETRIED else {}),
        }
        for status in statuses
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _file(*media_types: str) -> dict[str, Any]:
    return {media_type: {} for media_type in media_types}


def _binary(most: int) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": "application/octet-stream", "maxLength": most}


def _integer(least: int, most: int | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "minimum": least}
    return schema if most is None else {**schema, "maximum": most}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


_LABEL = _object(
    {
        "id": _integer(0, 254),
        "name": {"type": "string"},
        "colour": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
    }
)
_MODEL = _object(
    {
        "name": {"type": "string"},
        "step": _integer(0),
        "size": {**_integer(1), "description": "Height and width, pixels."},
        "num_frames": {**_integer(0), "description": "Frames of a clip; 0 of images."},
        "fps": {"type": "number", "description": "Frames a second."},
        "z_dim": {**_integer(0), "description": "Components of a latent; 0 without latents."},
        "num_labels": _integer(1, 255),
        "labels": {
            "type": "array",
            "items": _LABEL,
            "minItems": 1,
            "description": "What maps may have, the most frequent first.",
        },
        "default_label": _integer(0, 254),
        "has_style": {"type": "boolean"},
        "max_variations": _integer(1),
        "limits": _object({name: _integer(1) for name in TOLD_LIMITS}),
        "state": {"enum": ["compiling", "ready", "failed"]},
        "seconds": {"type": "number", "description": "Spent on compiling so far."},
        "error": {"type": ["string", "null"]},
    }
)
_EXAMPLES = {
    "type": "array",
    "items": _object({"name": {"type": "string"}, "url": {"type": "string"}}),
}
_ERROR = _object(
    {
        "error": _object(
            {
                "field": {"type": ["string", "null"], "description": "The form's, if it is one."},
                "message": {"type": "string"},
            }
        )
    }
)
