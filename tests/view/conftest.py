import pytest
from tests.view.serving import serving

serve = pytest.fixture(serving, name="serve")
