"""What several laws share."""

from pathlib import Path

import pytest
from training import STORY, Points, denoise, network, silent

from unnoise.train import Trainer


@pytest.fixture(scope="session")
def straight(tmp_path_factory) -> tuple[Path, list[int]]:
    folder, data = tmp_path_factory.mktemp("straight"), Points()
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, data, folder, say=silent)
    return folder, data.asked
