import pytest

from fluxforge_collector.ccxt_source.refusal import refusal_in


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (
            '{"error":"Currency pair not supported X/Y","method":"subscribe","success":false,"symbol":"X/Y"}',
            "Currency pair not supported X/Y",
        ),
        ('{"type": "error", "message": "Failed to subscribe"}', "Failed to subscribe"),
        (
            '{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}',
            '{"code":2,"msg":"Invalid request: invalid stream"}',
        ),
        ('{"event":"error","code":"60018","msg":"Invalid instId"}', "Invalid instId"),
        ('{"success":false,"ret_msg":"error:handler not found","op":"subscribe"}', "error:handler not found"),
        ('{"success":false}', '{"success":false}'),
    ],
)
def test_the_reason_is_read_off_the_venues_own_words(frame: str, reason: str) -> None:
    assert refusal_in(frame) == reason


@pytest.mark.parametrize(
    "frame",
    [
        '{"result":null,"id":1}',
        '{"method":"subscribe","success":true,"result":{"warnings":["no error"]}}',
        '{"e":"trade","m":false}',
        '{"error":',
        '["error"]',
        "error",
        '{"error":"' + "x" * 5000 + '"}',
    ],
)
def test_other_frames_refuse_nothing(frame: str) -> None:
    assert refusal_in(frame) is None
