"""What README shows as Python runs, and shows what it says."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_of_inflation() -> None:
    """Each prints the largest difference between clip and image, which is rounding."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(block, str(README), "exec"), {"__name__": "readme"})
        assert 0 <= float(said.getvalue()) < 1e-5
