"""Where a trial's checkpoints lie: a folder each, and last of all which of them counts.

<url>/checkpoint_000007/...      what training wrote
<url>/latest.json                {"folder": ..., "sha256": {file: digest}}, replaced when the folder is complete
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trainables.clip_folder import open_folder
from trainables.whole_file import written_whole

_LATEST = "latest.json"
# A store that is down for a while costs a trial that time and no more.
PATIENCE_S = 600.0


class Checkpoints:
    """Those of one trial, in a local folder or under an s3:// address; the last one is kept."""

    def __init__(self, url: str) -> None:
        self._place = open_folder(url, patience_s=PATIENCE_S)
        self._number = -1

    def latest(self) -> str | None:
        """Name of the folder that counts; None before the first."""
        record = self._place.read(_LATEST)
        if record is None:
            return None
        folder = str(json.loads(record)["folder"])
        self._number = int(folder.rpartition("_")[2])
        return folder

    def fetch(self, folder: str, into: Path) -> bool:
        """Copy one into a local folder; False where it is not there whole (training then begins anew)."""
        record = json.loads(self._place.read(_LATEST) or b'{"folder": ""}')
        if record["folder"] != folder:
            return False
        for name, digest in record["sha256"].items():
            data = self._place.read(f"{folder}/{name}")
            if data is None or hashlib.sha256(data).hexdigest() != digest:
                return False
            (into / name).write_bytes(data)
        return True

    def put(self, source: Path) -> str:
        """Store the files of a local folder as the checkpoint that counts, and drop the one before; its name."""
        if self._number < 0:
            self.latest()
        before = f"checkpoint_{self._number:06d}"
        self._number += 1
        folder = f"checkpoint_{self._number:06d}"
        place = self._place
        if place.is_local:
            place.system.create_dir(f"{place.path}/{folder}", recursive=True)
        digests = {}
        for file in sorted(source.iterdir()):
            data = file.read_bytes()
            digests[file.name] = hashlib.sha256(data).hexdigest()
            place.write(f"{folder}/{file.name}", data)
        latest = json.dumps({"folder": folder, "sha256": digests}).encode()
        if place.is_local:  # a local write is not whole at once
            with written_whole(Path(place.path) / _LATEST) as path:
                path.write_bytes(latest)
        else:
            place.write(_LATEST, latest)
        for name in digests if self._number else ():
            place.delete(f"{before}/{name}")
        return folder
