"""Who may write into a run folder."""

import os
import sys

import pytest

from longreach.errors import RunFolderError
from longreach.folder import Claim


@pytest.mark.skipif(sys.platform != "linux", reason="counts the open files in /proc")
def test_who_is_turned_away_leaves_no_file_open(tmp_path):
    claim = Claim.again(tmp_path)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(RunFolderError, match="another run is writing there right now"):
            Claim.again(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    claim.release()
    Claim.again(tmp_path).release()
