"""The server's answers as values and typed errors."""

import pytest

from fluxforge.adapters.jetstream.api import ApiError, PubAck, checked, pub_ack
from fluxforge.adapters.jetstream.lane_reader import _stream_seq
from fluxforge.domain.errors import BusUnavailableError


def test_an_acknowledgement_says_where_the_message_stands():
    assert pub_ack("publish", b'{"stream":"S","seq":7}') == PubAck(7, duplicate=False)
    assert pub_ack("publish", b'{"stream":"S","seq":7,"duplicate":true}') == PubAck(7, duplicate=True)


def test_a_refusal_keeps_its_codes():
    with pytest.raises(ApiError, match=r"refused to purge: stream not found \(404, 10059\)") as caught:
        checked("purge", b'{"error":{"code":404,"err_code":10059,"description":"stream not found"}}')
    assert (caught.value.code, caught.value.err_code) == (404, 10059)


def test_trouble_of_the_server_is_worth_another_try():
    with pytest.raises(BusUnavailableError, match="temporarily unavailable"):
        checked("purge", b'{"error":{"code":503,"err_code":10008,"description":"temporarily unavailable"}}')


@pytest.mark.parametrize("err_code", [10077, 10047])
def test_a_full_stream_and_a_full_server_are_no_trouble_that_passes_by_itself(err_code):
    with pytest.raises(ApiError):
        checked("publish", b'{"error":{"code":503,"err_code":%d,"description":"full"}}' % err_code)


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.MD_x.c0ns.1.4711.12.1731924123.0",
        "$JS.ACK._.h4sh.MD_x.c0ns.1.4711.12.1731924123.0",
        "$JS.ACK._.h4sh.MD_x.c0ns.1.4711.12.1731924123.0.r4nd0m",
    ],
)
def test_the_stream_sequence_is_found_in_every_form_of_the_reply_subject(reply):
    assert _stream_seq(reply) == 4711
