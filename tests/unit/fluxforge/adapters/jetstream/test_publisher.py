"""What a refusal means to the window; the publisher itself is tested against a real server."""

import pytest

from fluxforge.adapters.jetstream.publisher import trouble_of


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (None, 0),
        ({}, 0),  # nobody serves the subject
        ({"code": 400, "err_code": 10071}, 10071),
        ({"code": 503, "err_code": 10077}, 10077),  # full: told apart from other trouble of the server
        ({"code": 503, "err_code": 10008}, 0),
        ({"code": 503, "err_code": 10023}, 0),
        ({"code": 500, "err_code": 10047}, 0),
        ({"code": 400, "err_code": 10109}, 10109),
    ],
)
def test_trouble_that_passes_is_told_from_what_must_be_known(error, trouble):
    assert trouble_of(error) == trouble
