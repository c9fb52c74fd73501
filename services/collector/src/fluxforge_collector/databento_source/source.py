"""The Databento source: the live feeds of one dataset over one session after another.

After a lost session everything is subscribed anew: trades, candles and definitions from the last time seen, which the
gateway replays up to a day; books from now on. Signing in is tried for ever, ever more seldom: a key may be renewed,
and a gateway that refuses today may have been wrong.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Self

from typing_extensions import override

from fluxforge.domain.backoff import Backoff
from fluxforge.domain.control import Event
from fluxforge.domain.record import Feed
from fluxforge.runtime.settings import Settings
from fluxforge_collector.databento_source.intake import SNAPSHOT_SCHEMA, Intake
from fluxforge_collector.databento_source.session import SILENCE_S, GatewayError, Session
from fluxforge_collector.databento_source.subscriptions import Plan, plan
from fluxforge_collector.events import CollectorEvents
from fluxforge_collector.settings import CollectorSettings
from fluxforge_collector.source import Sink, Source

BACKOFF: Final = Backoff(base_s=0.5, cap_s=60.0)


class DatabentoSource(Source):
    """One dataset, planned and not yet connected; made by `prepare`."""

    def __init__(self, asked: Plan, *, chance: Callable[[], float], silence_s: float = SILENCE_S) -> None:
        self._plan = asked
        self._chance = chance
        self._silence_s = silence_s
        self._session: Session | None = None
        self._sessions = 0

    @classmethod
    async def prepare(
        cls,
        tree: Settings,
        settings: CollectorSettings,
        *,
        chance: Callable[[], float],
        events: CollectorEvents,  # noqa: ARG003 - as every source is made
    ) -> Self:
        """Plan the subscriptions of the lane's dataset.

        Raises:
            ConfigurationError: The dataset is not configured, has nothing to capture, or does not exist.
        """
        return cls(plan(tree, settings.lane), chance=chance)

    @property
    @override
    def feeds(self) -> Sequence[Feed]:
        return self._plan.feeds

    @property
    @override
    def connections(self) -> int:
        return 0 if self._session is None else 1

    @override
    async def run(self, sink: Sink) -> None:
        intake = Intake(sink, self._plan)
        failures = 0
        replays = True
        while True:
            try:
                session = await Session.open(self._plan.gateway, sink.now, intake.take)
            except GatewayError as error:
                sink.note(Event.REJECTED, intake.feeds, reason=error.reason)
            else:
                await self._hold(session, sink, intake, replays=replays)
                # Where a replay is refused, the hole is left as it is.
                replays = not (intake.asks_replay and intake.was_refused)
                failures = 0 if intake.taken and not intake.was_refused else failures
            failures += 1
            await asyncio.sleep(BACKOFF.delay_s(failures, self._chance))

    @override
    async def close(self) -> None:
        if self._session is not None:
            self._session.leave()

    async def _hold(self, session: Session, sink: Sink, intake: Intake, *, replays: bool) -> None:
        """Subscribe and take what comes until the session ends, then name how."""
        self._session = session
        self._sessions += 1
        conn = self._sessions
        gateway = self._plan.gateway
        sink.note(Event.CONNECTED, intake.feeds, reason=f"{gateway.host}:{gateway.port} {gateway.dataset}", conn=conn)
        try:
            intake.begin(conn, lambda symbol: self._subscribe(session, SNAPSHOT_SCHEMA, [symbol]))
            try:
                for schema, symbols in self._plan.subscriptions.items():
                    self._subscribe(session, schema, symbols, intake.replay_from_ns(schema) if replays else None)
                session.start()
                await session.ended(self._silence_s)
            finally:
                intake.end()
        except GatewayError as error:
            from_ns = session.heard_ns if error.is_silent else None
            sink.note(Event.DISCONNECTED, intake.feeds, reason=error.reason, conn=conn, from_ns=from_ns)
        finally:
            session.leave()
            self._session = None

    def _subscribe(self, session: Session, schema: str, symbols: Sequence[str], from_ns: int | None = None) -> None:
        is_snapshot = schema == SNAPSHOT_SCHEMA
        session.subscribe(schema, symbols, stype_in=self._plan.stype_in, start=from_ns, snapshot=is_snapshot)
