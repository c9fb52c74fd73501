import orjson
import pytest

from fluxforge_simulator.connection_fault import ConnectionFault, Fault, fault_from_json
from fluxforge_simulator.errors import OptionError


def test_a_fault_is_read_from_its_fields() -> None:
    fields = {"fault": "close", "exchange": "kraken", "channel": "orderbook", "code": 1012}
    expected = ConnectionFault(fault=Fault.CLOSE, exchange="kraken", channel="orderbook", code=1012)
    assert fault_from_json(orjson.dumps(fields)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"fault":"drop"}',
        b'{"fault":"explode","exchange":"okx"}',
        b'{"fault":"drop","exchange":"okx","colour":"red"}',
        b'{"fault":"drop","exchange":"okx","count":0}',
        b'{"fault":"drop","exchange":"okx","count":"many"}',
        b'{"fault":"close","exchange":"okx","code":5000}',
        b'{"fault":"rest","exchange":"okx","code":1000}',
        b'{"fault":"unreachable","exchange":"okx","lasts_s":-1}',
    ],
)
def test_what_is_no_fault_is_refused_with_what_would_be_one(body: bytes) -> None:
    with pytest.raises(OptionError, match="expected"):
        fault_from_json(body)


@pytest.mark.parametrize(("fault", "code"), [(Fault.CLOSE, 1000), (Fault.HANDSHAKE, 429), (Fault.REST, 503)])
def test_each_fault_has_a_code_of_its_own(fault: Fault, code: int) -> None:
    assert ConnectionFault(fault=fault, exchange="okx").status == code
    assert ConnectionFault(fault=fault, exchange="okx", code=500).status == 500


def test_an_answer_says_when_to_come_again_where_that_was_asked_for() -> None:
    assert ConnectionFault(fault=Fault.REST, exchange="okx").headers == {}
    assert ConnectionFault(fault=Fault.REST, exchange="okx", retry_after_s=2).headers == {"Retry-After": "2"}
