"""An inquiry: a short session that asks what the wanted contracts are."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ib_async.contract import Contract, ContractDetails

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings.ibkr import ContractSettings, IbkrSettings
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.ibkr_source.codes import NO_CONTRACT, NO_DESCRIPTION
from fluxforge_collector.ibkr_source.contracts import asked, chosen
from fluxforge_collector.ibkr_source.link import BACKOFF, GatewayUnavailableError, Link

_ANSWER_S: Final = 30.0


class _Answers:
    """The answers of one session, by the number of the request."""

    def __init__(self) -> None:
        self.found: dict[int, list[Contract]] = {}
        self.waiting: dict[int, asyncio.Future[str]] = {}
        """Done with what TWS found wrong, empty where nothing."""

    def contractDetails(self, number: int, details: ContractDetails) -> None:  # noqa: N802 - ib_async's name
        """Take one match."""
        if number in self.found and details.contract is not None:
            self.found[number].append(details.contract)

    def contractDetailsEnd(self, number: int) -> None:  # noqa: N802 - ib_async's name
        """Take that there are no more."""
        self._answer(number, "")

    def error(self, number: int, code: int, text: str, _advanced: str) -> None:
        """Take a refusal; of a contract that is not there, it is an answer."""
        if code == NO_CONTRACT:
            self._answer(number, "")
        elif code == NO_DESCRIPTION:
            self._answer(number, text)
        elif number in self.waiting and not self.waiting[number].done():
            self.waiting[number].set_exception(GatewayUnavailableError("contract details", f"{code}: {text}"))

    def undecoded(self, error: BaseException, _fields: Sequence[str]) -> None:
        """Give up every question: whose answer this was, nobody knows."""
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(GatewayUnavailableError("contract details", f"cannot be read: {error}"))

    def _answer(self, number: int, wrong: str) -> None:
        answer = self.waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(wrong)


async def contracts_of(
    settings: IbkrSettings, *, chance: Callable[[], float], events: CollectorEvents
) -> Mapping[ContractSettings, Contract]:
    """Return what each wanted contract is; a gateway that is away is asked until it answers.

    The session is over when this returns: the client id is free for whoever captures.

    Raises:
        ConfigurationError: Contracts that do not exist or that are several, all of them named.
    """
    wanted = dict.fromkeys(each for listed in settings.channels.values() for each in listed)
    failures = 0
    while True:
        try:
            return await _ask(settings, wanted)
        except GatewayUnavailableError as error:
            failures += 1
            delay_s = BACKOFF.delay_s(failures, chance)
            events.gateway_awaited(error, retry_s=delay_s)
            await asyncio.sleep(delay_s)


async def _ask(settings: IbkrSettings, wanted: Iterable[ContractSettings]) -> Mapping[ContractSettings, Contract]:
    answers = _Answers()
    link = Link(answers)
    await link.open(settings)
    contracts: dict[ContractSettings, Contract] = {}
    faults: list[str] = []
    try:
        numbers = {each: _request(link.client, answers, each) for each in wanted}
        for each, number in numbers.items():
            wrong = await _answered(link, answers.waiting[number])
            try:
                contracts[each] = chosen(each, answers.found[number], wrong)
            except ConfigurationError as error:
                faults.append(str(error))
    finally:
        link.close()
    if faults:
        raise ConfigurationError("\n".join(faults))
    return contracts


def _request(client: Any, answers: _Answers, wanted: ContractSettings) -> int:
    number: int = client.getReqId()
    answers.found[number] = []
    answers.waiting[number] = asyncio.get_running_loop().create_future()
    client.reqContractDetails(number, asked(wanted))
    return number


async def _answered(link: Link, answer: asyncio.Future[str]) -> str:
    await asyncio.wait([answer, link.ended], timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        return answer.result()
    reason = link.ended.result() if link.ended.done() else f"no contract details within {_ANSWER_S:.0f} s"
    raise GatewayUnavailableError("contract details", reason)
