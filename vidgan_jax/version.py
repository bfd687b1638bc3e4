"""Which code this is."""

import subprocess
from pathlib import Path

__version__ = "0.1.0"


def code_version() -> str:
    """The package's version, with the git commit where it runs from its own checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # installed, maybe inside somebody else's repository
        return __version__
    git = ("git", "-C", str(root), "describe", "--always", "--dirty")
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return __version__  # no git here: the version must do
    return f"{__version__}+{commit.strip()}"
