"""The studio's routes, as a client sees them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import openapi_spec_validator
import pytest
from starlette.testclient import TestClient

from tests.models_on_disk import save_model
from tests.serving.served import BOUNDARY, FORM_TYPE, KNOWN, SIZE, FakeModel, a_map, form_of
from tests.serving.test_model import TINY
from vidgan_jax.serving import app as serving_app
from vidgan_jax.serving.app import make_app, read_page
from vidgan_jax.serving.forms import InputLimits
from vidgan_jax.serving.gate import Gate, RateLimit
from vidgan_jax.serving.guard import HEADERS
from vidgan_jax.serving.model import StudioModel

MEDIA = {"mp4": "video/mp4", "webp": "image/webp", "gif": "image/gif", "png": "application/zip"}


def wait_until_ready(client: TestClient, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while client.get("/api/model").json()["state"] == "compiling":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def client_of(model: FakeModel, **settings: Any) -> TestClient:
    return TestClient(make_app(model, **settings), base_url="http://localhost:8080")


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture(scope="module")
def client(model: FakeModel) -> Iterator[TestClient]:
    with client_of(model, rate=RateLimit(burst=10_000)) as client:
        wait_until_ready(client)
        yield client


def is_error(response: Any, status: int, field: str | None = None) -> bool:
    """Whether it is an error of this status, as JSON."""
    told = response.json()["error"]
    assert isinstance(told["message"], str)
    assert len(told["message"]) > 10
    return response.status_code == status and told["field"] == field


# --- The page


def test_the_page_is_served_with_its_files(client: TestClient) -> None:
    page = read_page()
    assert {"index.html", "main.js", "studio.css"} <= set(page)
    for name, file in page.items():
        response = client.get("/" if name == "index.html" else f"/static/{name}")
        assert response.status_code == 200
        assert response.content == file.data
        assert response.headers["content-type"] == file.media_type


def test_the_page_is_asked_for_again_and_not_sent_again(client: TestClient) -> None:
    first = client.get("/static/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/static/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/static/main.js", headers={"If-None-Match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/main.js%00.png",
        "/static//etc/passwd",
        "/api/examples/1.png",
        "/api/examples/00.png",
        "/api/examples/-1.png",
        "/api/model/",
        "/nothing",
    ],
)
def test_what_is_not_there_is_told_as_json(client: TestClient, path: str) -> None:
    assert is_error(client.get(path), 404)


def test_other_methods_are_told_as_json(client: TestClient) -> None:
    response = client.get("/api/generate")
    assert is_error(response, 405)
    assert response.headers["allow"] == "POST"
    assert is_error(client.delete("/api/model"), 405)


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/model", "/openapi.json", "/no"])
def test_every_answer_has_the_headers_of_safety(client: TestClient, path: str) -> None:
    response = client.get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "set-cookie" not in response.headers
    is_page = path in ("/", "/static/main.js")
    assert response.headers["cache-control"] == ("no-cache" if is_page else "no-store")
    assert client.head(path).status_code == response.status_code


# --- The model and its examples


def test_the_model_is_described(client: TestClient, model: FakeModel) -> None:
    told = client.get("/api/model").json()
    assert {name: told[name] for name in model.description} == model.description
    assert (told["state"], told["error"]) == ("ready", None)
    assert told["limits"]["map_bytes"] == InputLimits().map_bytes
    assert 0 <= told["seconds"] < 20


def test_examples_are_maps_of_ids(client: TestClient) -> None:
    (example,) = client.get("/api/examples").json()
    assert example == {"name": "sky", "url": "/api/examples/0.png"}
    data = client.get(example["url"]).content
    response = client.post("/api/generate", files={"map": data})
    assert response.status_code == 200


def test_nothing_is_generated_while_the_model_is_compiled() -> None:
    model = FakeModel()
    model.may_compile.clear()
    with client_of(model) as client:
        assert client.get("/api/model").json()["state"] == "compiling"
        assert client.get("/").status_code == 200
        response = client.post("/api/generate", files={"map": a_map()})
        assert is_error(response, 503)
        assert int(response.headers["retry-after"]) >= 1
        earlier = client.get("/api/model").json()["seconds"]
        model.may_compile.set()
        wait_until_ready(client)
        took = client.get("/api/model").json()["seconds"]
        assert took >= earlier
        time.sleep(0.01)
        assert client.get("/api/model").json()["seconds"] == took
        assert client.post("/api/generate", files={"map": a_map()}).status_code == 200


def test_a_model_that_does_not_compile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModel()

    def fail() -> None:
        raise MemoryError("no room for it")

    monkeypatch.setattr(model, "compile", fail)
    with client_of(model) as client:
        wait_until_ready(client)
        told = client.get("/api/model").json()
        assert (told["state"], told["error"]) == ("failed", "MemoryError: no room for it")
        response = client.post("/api/generate", files={"map": a_map()})
        assert is_error(response, 503)
        assert "no room for it" in response.json()["error"]["message"]


# --- Generating


@pytest.mark.parametrize("format", MEDIA)
def test_a_clip_comes_in_each_format_and_the_same_again(client: TestClient, format: str) -> None:
    fields = {"seed": "11", "format": format, "playback": "pingpong"}
    first, again = (
        client.post("/api/generate", files={"map": a_map()}, data=fields) for _ in range(2)
    )
    assert first.status_code == 200
    assert first.headers["content-type"] == MEDIA[format]
    assert first.headers["x-seed"] == "11"
    assert int(first.headers["x-generation-ms"]) >= 0
    assert first.content == again.content
    other = client.post("/api/generate", files={"map": a_map()}, data={**fields, "seed": "12"})
    assert other.content != first.content


def test_the_model_gets_what_the_form_says(client: TestClient, model: FakeModel) -> None:
    fields = {"seed": "4294967295", "variation": "3", "truncation": "0.75"}
    files = {"map": a_map(21, side=40), "style": a_map(200, side=9)}
    assert client.post("/api/generate", files=files, data=fields).status_code == 200
    call = model.calls[-1]
    assert (call["seed"], call["variation"], call["truncation"]) == (4294967295, 3, 0.75)
    np.testing.assert_array_equal(call["label_map"], np.full((SIZE, SIZE), 21, np.uint8))
    np.testing.assert_array_equal(call["style"], np.full((SIZE, SIZE, 3), 200, np.uint8))


def test_an_image_is_a_png_by_default() -> None:
    with client_of(FakeModel(num_frames=0)) as client:
        wait_until_ready(client)
        response = client.post("/api/generate", files={"map": a_map()})
        assert response.headers["content-type"] == "image/png"
        mp4 = client.post("/api/generate", files={"map": a_map()}, data={"format": "mp4"})
        assert is_error(mp4, 400, "format")


def test_a_wrong_content_type_is_told(client: TestClient) -> None:
    assert is_error(client.post("/api/generate", json={"seed": 1}), 415)
    assert is_error(client.post("/api/generate"), 415)
    assert is_error(client.post("/api/generate", data={"seed": "1"}), 415)


def test_unknown_labels_are_named_with_the_nearest(client: TestClient) -> None:
    response = client.post("/api/generate", files={"map": a_map(9)})
    assert is_error(response, 422, "map")
    assert "9 (grass; nearest in colour: 4, tree)" in response.json()["error"]["message"]


def test_a_failure_of_the_program_is_told_without_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = FakeModel()

    def fail(*_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(model, "generate", fail)
    app = make_app(model)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        wait_until_ready(client)
        response = client.post("/api/generate", files={"map": a_map()})
        assert is_error(response, 500)
        assert "secret" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        # The place in the line is free again.
        assert client.get("/api/model").status_code == 200


def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    with client_of(FakeModel(), rate=RateLimit(burst=2, per_s=0.01)) as client:
        wait_until_ready(client)
        ask = [client.post("/api/generate", files={"map": a_map()}) for _ in range(3)]
        assert [response.status_code for response in ask] == [200, 200, 429]
        assert is_error(ask[2], 429)
        assert 90 <= int(ask[2].headers["retry-after"]) <= 100
        assert client.get("/api/model").status_code == 200


def test_what_takes_too_long_is_given_up() -> None:
    model = FakeModel()
    with client_of(model, gate=Gate(timeout_s=0.05)) as client:
        wait_until_ready(client)
        model.may_answer.clear()
        response = client.post("/api/generate", files={"map": a_map()})
        assert is_error(response, 503)
        assert "retry-after" in response.headers
        model.may_answer.set()


def test_a_model_as_it_is_trained_is_served(tmp_path: Path) -> None:
    """Not a test's: compiled in one thread, run in another, and described as it is."""
    save_model(tmp_path / "images", "spade2d.py:smoke", TINY)
    trained: Any = StudioModel.load(tmp_path / "images")
    with client_of(trained) as client:
        wait_until_ready(client, seconds=120)
        description = client.get("/openapi.json").json()
        schema = {**description, "$ref": "#/components/schemas/Model"}
        jsonschema.validate(client.get("/api/model").json(), schema)
        example = client.get(client.get("/api/examples").json()[0]["url"]).content
        first, again, other = (
            client.post("/api/generate", files={"map": example}, data={"seed": seed})
            for seed in ("3", "3", "4")
        )
        assert (first.status_code, first.headers["content-type"]) == (200, "image/png")
        assert first.content == again.content
        assert first.content != other.content


# --- Who may ask


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:80", "studio.lan", "localhost."]
)
def test_own_names_are_let_through(host: str) -> None:
    with client_of(FakeModel(), hosts=["studio.lan"]) as client:
        assert client.get("/api/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "10.0.0.1",
        "[::1",
        "localhost:99999999",
        "",
    ],
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/model", "/no"):
        assert is_error(client.get(path, headers={"Host": host}), 400)


def test_listening_everywhere_takes_addresses_and_no_names() -> None:
    with client_of(FakeModel(), hosts=["0.0.0.0"]) as client:
        for host, status in {"10.0.0.1:80": 200, "[fe80::1]": 200, "evil.example": 400}.items():
            assert client.get("/api/model", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:8080"}, 200),
        ({"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_only_the_own_page_posts(client: TestClient, headers: dict[str, str], status: int) -> None:
    response = client.post("/api/generate", files={"map": a_map()}, headers=headers)
    assert response.status_code == status
    assert status == 200 or is_error(response, 403)


# --- The description


def test_the_description_is_of_openapi_and_of_all_routes(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    openapi_spec_validator.validate(description)
    described = {
        (path, method.upper()) for path, item in description["paths"].items() for method in item
    }
    routes: Any = make_app(FakeModel()).routes
    there = {(route.path, m) for route in routes for m in route.methods - {"HEAD"}}
    assert described == there


def test_answers_are_as_described(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    for path, name in {"/api/model": "Model", "/api/examples": "Examples", "/x": "Error"}.items():
        schema = {**description, "$ref": f"#/components/schemas/{name}"}
        jsonschema.validate(client.get(path).json(), schema)
    statuses = description["paths"]["/api/generate"]["post"]["responses"]
    assert {int(status) for status in statuses} == {200, 400, 403, 408, 413, 415, 422, 429, 503}
    media = statuses["200"]["content"]
    assert {*MEDIA.values(), "image/png"} == set(media)


def test_the_described_fields_are_those_that_are_read(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/api/generate"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    for name, schema in form.items():
        if "minimum" in schema:
            for end, inside in (("minimum", 1), ("maximum", -1)):
                fields = {name: str(schema[end])}
                good = client.post("/api/generate", files={"map": a_map()}, data=fields)
                assert good.status_code == 200
                fields = {name: str(schema[end] - inside)}
                bad = client.post("/api/generate", files={"map": a_map()}, data=fields)
                assert is_error(bad, 400, name)
        for choice in schema.get("enum", ()):
            fields = {name: choice}
            good = client.post("/api/generate", files={"map": a_map()}, data=fields)
            assert good.status_code == 200
    assert set(form) == {"map", "style", *serving_app.inputs.Wish.__annotations__} - {"label_map"}


def test_a_form_of_hand_is_read_like_a_browsers(client: TestClient) -> None:
    body = form_of({"map": a_map(KNOWN[0]), "seed": b"5"})
    assert BOUNDARY.encode() in body
    response = client.post("/api/generate", content=body, headers={"Content-Type": FORM_TYPE})
    assert response.status_code == 200
    assert response.headers["x-seed"] == "5"
