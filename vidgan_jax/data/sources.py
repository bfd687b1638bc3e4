"""Sources of clips by name: what `config.data.path` and `--data` may say.

DIR, gs://BUCKET/DIR, s3://BUCKET/DIR        a prepared data set (`records`)
arrayrecord:FOLDER_OR_FILES                  ArrayRecord files of clips (`array_records`)
tfds:NAME[/CONFIG][:VERSION][?KEY=VALUE&…]   a TFDS data set that is prepared (`tfds_source`)
"""

import os
import re
from pathlib import Path

from vidgan_jax import files
from vidgan_jax.data import array_records, tfds_source
from vidgan_jax.data.collection import Clips
from vidgan_jax.data.records import ClipSource
from vidgan_jax.data.tfexample import RecordError

_SCHEME = re.compile(r"(?P<scheme>[a-z_]{2,}):(?P<where>.*)", re.DOTALL)


def open_source(path: str | os.PathLike[str], split: str) -> Clips:
    """Opens one split of a source.

    Args:
      path: names the source, see above.
      split: for example "train"; no parts, as "train[:90%]".

    Raises:
      RecordError: there is no such source or split, or it cannot be used.
      ValueError: the name is not well-formed, or what reads it is not installed; a bucket's of
        which only data sets of the first kind are read.
    """
    named = _SCHEME.fullmatch(os.fspath(path))
    if named is None or files.is_remote(path) or Path(path).exists():
        return ClipSource(path, split)
    files.refuse_remote(named["where"], f"{named['scheme']}: reads disks only; copy it to one")
    if named["scheme"] == "arrayrecord":
        return array_records.ArrayRecordClips(named["where"], split)
    if named["scheme"] == "tfds":
        return tfds_source.TFDSClips(named["where"], split)
    raise RecordError(
        f"{path}: no such folder, and no sources are called {named['scheme']!r}; there are folders "
        "of prepared data sets, arrayrecord:FILES and tfds:NAME"
    )
