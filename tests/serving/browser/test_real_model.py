"""The page on a real network, tiny and untrained: what is drawn comes back as its clip."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.models_on_disk import save_model
from tests.runs import fields
from tests.serving.browser.conftest import Visit
from tests.serving.browser.server import Server
from vidgan_jax.serving import outputs
from vidgan_jax.serving.model import StudioModel

SIZE, FRAMES = 32, 4
TINY = (
    *fields(model_size=SIZE, model_features=2, model_max_features=4, model_z_dim=3),
    *fields(model_label_features=4, model_disc_features=2, model_disc_scales=1),
    *fields(model_disc_layers=1, model_init_scale=2.0, data_resize=SIZE),
    *fields(model_num_frames=FRAMES, model_time_stages="(0,)"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("real")

    def load() -> StudioModel:
        save_model(folder / "clips", "spade3d.py:smoke", TINY)
        return StudioModel.load(folder / "clips")

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as other:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        # orbax runs event loops, of which this thread has one already: the browser's.
        real = Server(other.submit(load).result(120))
        yield real
        real.stop()


def test_what_is_drawn_is_what_the_network_made_of_it(visit: Visit, server: Server) -> None:
    studio = visit(server=server)
    model: Any = server.model
    # The page begins with an example, and with it compiled.
    studio.wait_for_map(model.examples[0][1])
    studio.wait_for_clips()
    known = [entry["id"] for entry in model.description["labels"]]
    studio.choose(known[2])
    studio.drag((4.5, 8.5), (27.5, 20.5))
    studio.find("#seed").fill("5")
    studio.generate()
    studio.wait_for_answer()
    ids = studio.ids()
    assert (ids == known[2]).sum() > (model.examples[0][1] == known[2]).sum()
    made = model.generate(ids, seed=5)
    assert made.shape == (FRAMES, SIZE, SIZE, 3)
    same = outputs.encode(
        made, format="mp4", fps=model.description["fps"], playback="once", loops=1
    )
    assert studio.download("#download-mp4")[1] == same.data
    studio.photograph("desktop_real_model")


def test_a_shared_address_gives_the_same_bytes(visit: Visit, server: Server) -> None:
    studio = visit(server=server)
    studio.wait_for_clips()
    studio.find("#clear").click()
    studio.find("#seed").fill("4242")
    studio.generate()
    studio.wait_for_answer()
    film = studio.download("#download-mp4")[1]
    studio.find("#share").click()
    studio.page.wait_for_url("**/#*")
    other = visit(server=server, fragment="#" + studio.page.url.partition("#")[2])
    other.wait_for_clips()
    other.wait_for_answer()
    np.testing.assert_array_equal(other.ids(), studio.ids())
    assert other.download("#download-mp4")[1] == film
